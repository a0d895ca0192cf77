/** What is found wrong with the rules, as it is counted. */
export type Deviation =
  | "chain missing"
  | "chain altered"
  | "chain foreign"
  | "object foreign"
  | "rule missing"
  | "rule altered"
  | "rule duplicated"
  | "rule foreign"
  | "rules reordered"
  | "jump missing"
  | "jump doubled"
  | "jump altered";

export type Deviations = Readonly<Partial<Record<Deviation, number>>>;

/** Adds up deviations. Pure. */
export function sumDeviations(all: readonly Deviations[]): Deviations {
  const sum: Partial<Record<Deviation, number>> = {};
  for (const one of all) {
    for (const [kind, count] of Object.entries(one) as [Deviation, number][]) sum[kind] = (sum[kind] ?? 0) + count;
  }
  return sum;
}

export function deviates(deviations: Deviations): boolean {
  return Object.keys(deviations).length > 0;
}

/**
 * In what way the rules of one chain differ from those wanted; nothing when they are the same in the same order. Pure.
 * @param wanted texts of the rules, no two the same
 * @param actual undefined: there is no such chain
 */
export function compareChain(wanted: readonly string[], actual: readonly string[] | undefined): Deviations {
  if (actual === undefined) return { "chain missing": 1 };
  if (wanted.length === actual.length && wanted.every((rule, index) => rule === actual[index])) return {};
  const known = new Set(wanted);
  const seen = new Set<string>();
  let duplicated = 0;
  let foreign = 0;
  for (const rule of actual) {
    if (!known.has(rule)) foreign++;
    else if (seen.has(rule)) duplicated++;
    seen.add(rule);
  }
  const missing = wanted.filter((rule) => !seen.has(rule)).length;
  // A rule that is gone, and one in its place that is not ours, are one that was altered.
  const altered = Math.min(missing, foreign);
  const counts: Record<string, number> = {
    "rule missing": missing - altered,
    "rule altered": altered,
    "rule duplicated": duplicated,
    "rule foreign": foreign - altered,
  };
  const found: Deviations = Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0));
  return { ...found, ...(inOrder(wanted, actual, seen) ? {} : { "rules reordered": 1 }) };
}

/** Whether the rules that are there stand, each at its first place, in the order wanted. */
function inOrder(wanted: readonly string[], actual: readonly string[], present: ReadonlySet<string>): boolean {
  const known = new Set(wanted);
  const first = [...new Set(actual.filter((rule) => known.has(rule)))];
  return wanted.filter((rule) => present.has(rule)).every((rule, index) => rule === first[index]);
}

/**
 * In what way the jumps to one of our chains differ from exactly one. Pure.
 * @param actual the jumps' texts, in their order
 */
export function compareJumps(wanted: string, actual: readonly string[]): Deviations {
  const right = actual.filter((jump) => jump === wanted).length;
  const wrong = actual.length - right;
  // A jump that is gone, and one to the same chain with other conditions, are one that was altered.
  const missing = right === 0 && wrong === 0 ? 1 : 0;
  const doubled = Math.max(0, right - 1);
  return {
    ...(missing > 0 ? { "jump missing": missing } : {}),
    ...(doubled > 0 ? { "jump doubled": doubled } : {}),
    ...(wrong > 0 ? { "jump altered": wrong } : {}),
  };
}
