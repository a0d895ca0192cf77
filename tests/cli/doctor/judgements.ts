import type { Finding } from "../../../src/cli/doctor/check.ts";

/** What was found, as `status: message`, a line each. */
export function told(findings: Finding | readonly Finding[] | undefined): string {
  const list = findings === undefined ? [] : [findings].flat();
  return list.map(({ status, message }) => `${status}: ${message}`).join("\n");
}

/** Whether each warning and error has a fix, and nothing else has. */
export function haveFixes(findings: Finding | readonly Finding[]): boolean {
  return [findings].flat().every(({ status, fix }) => (status === "warning" || status === "error") === Boolean(fix));
}
