import type { Context } from "./context.ts";

export { plural } from "../output.ts";

/** What a check found: `skipped` where it does not apply, or can't look. */
export type Status = "ok" | "warning" | "error" | "skipped";

/** One thing that a check looked at. */
export interface Finding {
  readonly status: Status;
  /** what was found, and what it means, in one sentence */
  readonly message: string;
  /** commands to run or settings to change, a line each; of warnings and errors */
  readonly fix?: string;
}

/** The parts of a report, in its order. */
export const GROUPS = ["Agent", "Lease source", "Kernel", "Interfaces", "Packet filter", "CNI"] as const;
export type Group = (typeof GROUPS)[number];

export interface Check {
  readonly group: Group;
  /** unique, `lower-case-with-dashes` */
  readonly name: string;
  /**
   * Gathers what it needs and judges it. Changes nothing on the host.
   * @returns at least one finding
   * @throws NotApplicable, or whatever went wrong, which is told as an error of this check
   */
  find(context: Context): readonly Finding[] | Promise<readonly Finding[]>;
}

/** The check has nothing to look at here; the message says why. */
export class NotApplicable extends Error {
  override readonly name = "NotApplicable";
}

export const ok = (message: string): Finding => ({ status: "ok", message });
export const warning = (message: string, fix: string): Finding => ({ status: "warning", message, fix });
export const error = (message: string, fix: string): Finding => ({ status: "error", message, fix });
export const skipped = (message: string): Finding => ({ status: "skipped", message });

/** What is not right, or one sentence that all of it is. */
export function orOk(findings: readonly Finding[], message: string): readonly Finding[] {
  return findings.length > 0 ? findings : [ok(message)];
}
