import * as v from "valibot";
import { describeError } from "../base/errors.ts";

/** Error codes of the CNI specification, and, from 100, our own. */
export const CODE = {
  incompatibleVersion: 1,
  invalidEnvironment: 4,
  io: 5,
  decoding: 6,
  invalidConfig: 7,
  tryAgainLater: 11,
  notAvailable: 50,
  /** a delegate ended without an answer that could be read */
  delegateFailed: 100,
  /** CHECK: an address is not of this node's subnet */
  foreignAddress: 101,
  /** CHECK: the MTU is not the one that ADD gives */
  wrongMtu: 102,
  /** GC: something could not be released */
  notReleased: 103,
  /** what nobody foresaw; libcni's own number for it */
  internal: 999,
} as const;

/** An error as the runtime is told it: a code, what happened, and what more is known. */
export class CniError extends Error {
  override readonly name = "CniError";
  readonly code: number;
  readonly details: string;

  constructor(message: string, { code, details = "", ...options }: CniErrorOptions) {
    super(message, options);
    this.code = code;
    this.details = details;
  }
}

interface CniErrorOptions extends ErrorOptions {
  readonly code: number;
  /** may be empty */
  readonly details?: string;
}

const ErrorAnswer = v.object({
  code: v.pipe(v.number(), v.integer()),
  msg: v.string(),
  details: v.nullish(v.string(), ""),
});

/** The error in what a plugin wrote to stdout, or undefined if there is none. */
export function parseErrorAnswer(stdout: string): CniError | undefined {
  const answer = v.safeParse(v.pipe(v.string(), v.parseJson(), ErrorAnswer), stdout);
  if (!answer.success) return undefined;
  const { code, msg, details } = answer.output;
  return new CniError(msg, { code, details: details ?? "" });
}

/** Any error as the JSON that belongs on stdout. @param cniVersion that of the configuration, as far as it is known */
export function errorAnswer(error: unknown, cniVersion: string): string {
  const code = error instanceof CniError ? error.code : CODE.internal;
  // The causes of our own errors; the message of a delegate's error stays as it is.
  const msg = describeError(error);
  const details = error instanceof CniError ? error.details : "";
  return JSON.stringify({ cniVersion, code, msg, ...(details === "" ? {} : { details }) });
}
