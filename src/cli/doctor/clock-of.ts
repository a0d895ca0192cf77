import type { ClockFacts } from "./sources.ts";

/**
 * How far the clock here is ahead of a server's, by the Date of its answer, which has whole seconds.
 * @param sentAt,receivedAt milliseconds since 1970, by the clock here
 */
export function clockOf(date: string | null, sentAt: number, receivedAt: number): { clock?: ClockFacts } {
  const told = date === null ? Number.NaN : Date.parse(date);
  if (Number.isNaN(told)) return {};
  const aheadMs = Math.round((sentAt + receivedAt) / 2 - (told + 500));
  return { clock: { aheadMs, uncertainMs: Math.round(500 + (receivedAt - sentAt) / 2) } };
}
