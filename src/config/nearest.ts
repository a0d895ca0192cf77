import { closest, distance } from "fastest-levenshtein";

/**
 * The candidate that `word` was probably meant to be: at most one edit for every three characters begun, case ignored.
 * @returns undefined when nothing is that near
 */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  if (candidates.length === 0) return undefined;
  const lower = word.toLowerCase();
  const byLower = new Map(candidates.map((candidate) => [candidate.toLowerCase(), candidate]));
  const best = closest(lower, [...byLower.keys()]);
  return distance(lower, best) <= Math.ceil(lower.length / 3) ? byLower.get(best) : undefined;
}
