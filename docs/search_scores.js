// What the search puts first: guides before references, these before what was measured; a title with the words of the
// query before others. Sphinx calls `score` with every result.
const GUIDES = /^(tutorials\/|install$|concepts$|variants$|embeddings$|mutagenesis$|generation$|own_data$|pictures$|pretraining$|downstream$|hub$|evaluation$|recipes$|supervised$|checks$|families$|quantisation$|long_context$|with_other_tools$|coming_from$)/;
const LAST = /^(audit\/|index$|bad_inputs$|real_|paper_tables$|coverage$|reliability$|benchmarks$|tasks_)/;

var Scorer = {
  score: ([docname, title, anchor, descr, score]) => {
    const query = (new URLSearchParams(window.location.search).get("q") || "").toLowerCase();
    const words = query.split(/[^\w-]+/).filter((word) => word.length > 2);
    const heading = title.toLowerCase();
    const inTitle = words.filter((word) => heading.includes(word.slice(0, Math.max(4, word.length - 3)))).length;
    const place = GUIDES.test(docname) ? 10 : LAST.test(docname) ? -20 : 0;
    return score + place + (words.length ? (10 * inTitle) / words.length : 0);
  },
  objNameMatch: 3,
  objPartialMatch: 0,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
