import { plural } from "../output.ts";
import { GROUPS, type Status } from "./check.ts";
import type { Report } from "./report.ts";

/** columns */
const WIDTH = 80;
const INDENT = 11;

/** ECMA-48: green, yellow, red, faint */
const COLOURS: Readonly<Record<Status, string>> = { ok: "32", warning: "33", error: "31", skipped: "2" };

/** The report for a person: by group, in the order of the checks, with a summary as the last line. */
export function reportText(report: Report, colours: boolean): string {
  const lines: string[] = [];
  const { from, leaseSource } = report.configuration;
  lines.push(...wrap(`Configuration: ${from}; lease source: ${leaseSource ?? "not known"}`, 0, 2), "");
  for (const group of GROUPS) {
    const findings = report.findings.filter((finding) => finding.group === group);
    if (findings.length === 0) continue;
    lines.push(group);
    for (const { status, check, message, fix } of findings) {
      const [first = "", ...rest] = wrap(`${check}: ${message}`, INDENT, INDENT);
      const label = colour(status.padEnd(INDENT - 3), status, colours);
      lines.push(`  ${label} ${first.trimStart()}`, ...rest);
      for (const [at, line] of (fix?.split("\n") ?? []).entries()) {
        lines.push(...wrap(at === 0 ? `fix: ${line}` : `     ${line}`, INDENT, INDENT + 5));
      }
    }
    lines.push("");
  }
  lines.push(summary(report));
  return `${lines.join("\n")}\n`;
}

function colour(text: string, status: Status, colours: boolean): string {
  return colours ? `\x1b[${COLOURS[status]}m${text}\x1b[0m` : text;
}

function summary({ counts }: Report): string {
  return `${plural(counts.error, "error")}, ${plural(counts.warning, "warning")}, ${counts.ok} ok, ${counts.skipped} skipped`;
}

/**
 * Breaks a text at its spaces; a longer word keeps its length.
 * @param first spaces before the first line, and `next` before the others
 */
export function wrap(text: string, first: number, next: number): string[] {
  const lines: string[] = [];
  const margin = /^ */.exec(text)?.[0].length ?? 0;
  let line = " ".repeat(first + margin);
  let isEmpty = true;
  for (const word of text.trim().split(/ +/)) {
    if (!isEmpty && line.length + 1 + word.length > WIDTH) {
      lines.push(line);
      line = " ".repeat(next);
      isEmpty = true;
    }
    line += isEmpty ? word : ` ${word}`;
    isEmpty = false;
  }
  return [...lines, line];
}
