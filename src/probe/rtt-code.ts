/**
 * Round-trip times in 16 bits each, for a window of them is kept of every peer: logarithmic, a quarter of a per mille
 * apart, up to two minutes. 0 stands for a probe that was lost. Pure.
 */

export const LOST = 0;

const STEPS = 4000;
/** milliseconds below which the steps are about equal */
const KNEE = 0.01;
const HIGHEST = 0xffff;

/** @param rtt milliseconds */
export function encodeRtt(rtt: number): number {
  return Math.min(HIGHEST, 1 + Math.round(STEPS * Math.log1p(Math.max(0, rtt) / KNEE)));
}

/** @param code none of a lost probe; @returns milliseconds */
export function decodeRtt(code: number): number {
  return KNEE * Math.expm1((code - 1) / STEPS);
}
