import * as v from "valibot";
import { hasCode } from "../base/errors.ts";
import { mustBe } from "../config/schema.ts";
import type { OptionSpec } from "./options.ts";
import { type Column, lineWidth, type Paint, paintFor, table } from "./table.ts";

/** What commands that show the agent's and the kernel's state write. */

/** `-o` of commands that show tables. */
export const TABLE_OUTPUT = {
  short: "o",
  value: "FORMAT",
  usage: "text (if not given), wide for all columns in full, or json",
  schema: v.optional(v.picklist(["text", "wide", "json"], mustBe("text, wide or json")), "text"),
} as const satisfies OptionSpec;

export interface Screen {
  readonly paint: Paint;
  /** columns of a line */
  readonly width: number;
}

export function screenOf(stream: NodeJS.WriteStream, wide = false): Screen {
  return { paint: paintFor(stream), width: wide ? Number.POSITIVE_INFINITY : lineWidth(stream) };
}

/** A row of a table, and how it looks. */
export interface Row {
  readonly cells: readonly string[];
  readonly colour?: Parameters<Paint>[0] | undefined;
}

/** The lines of a table with its head in bold. */
export function paintedTable(columns: readonly Column[], rows: readonly Row[], { paint, width }: Screen): string[] {
  const [head = "", ...lines] = table(
    columns,
    rows.map(({ cells }) => cells),
    width,
  );
  const coloured = lines.map((line, at) => {
    const colour = rows[at]?.colour;
    return colour === undefined ? line : paint(colour, line);
  });
  return [paint("bold", head), ...coloured];
}

/**
 * To stdout, whole, also when the process ends right after it; a reader that has gone (`| head`) is no error.
 * @returns whether there still is one: what goes on until it is killed has to end with it
 */
export function print(content: string | Uint8Array): Promise<boolean> {
  const { promise, resolve, reject } = Promise.withResolvers<boolean>();
  // The stream tells of it once more by an event, and without a listener that ends the process with a dump.
  if (process.stdout.listenerCount("error") === 0) process.stdout.on("error", () => {});
  process.stdout.write(content, (error) => {
    if (error && !hasCode(error, "EPIPE")) reject(new Error("can't write to stdout", { cause: error }));
    else resolve(!error);
  });
  return promise;
}

export function printJson(value: unknown): Promise<boolean> {
  return print(`${JSON.stringify(value, null, 2)}\n`);
}

/** Remarks beside the answer. */
export function remark(text: string): void {
  process.stderr.write(`tartan: ${text}\n`);
}

const UNITS = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1_000],
] as const;

/** Milliseconds in the largest two units: `3d4h`, `2m5s`, `0s`. */
export function span(milliseconds: number): string {
  let rest = Math.max(0, milliseconds);
  const at = UNITS.findIndex(([, size]) => rest >= size);
  if (at < 0) return "0s";
  let text = "";
  for (const [unit, size] of UNITS.slice(at, at + 2)) {
    const count = Math.floor(rest / size);
    if (count > 0) text += `${count}${unit}`;
    rest -= count * size;
  }
  return text;
}

/** How long ago a time was. */
export function age(time: string | null, now = Date.now()): string {
  return time === null ? "-" : span(now - Date.parse(time));
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

/** `1 route, 2 neighbours`, or a dash for nothing. */
export function counts(byKind: Readonly<Record<string, number>>): string {
  const parts = Object.entries(byKind).filter(([, count]) => count > 0);
  return parts.length === 0 ? "-" : parts.map(([kind, count]) => `${count} ${kind}`).join(", ");
}
