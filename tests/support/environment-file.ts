import { existsSync, readFileSync } from "node:fs";

/** The lines `KEY=value` of a file; none if it is not there. */
export function readEnvironmentFile(path: string): Record<string, string> {
  const lines = existsSync(path) ? readFileSync(path, "utf8").split("\n") : [];
  return Object.fromEntries(
    lines.flatMap((line) =>
      line.includes("=") ? [[line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]] : [],
    ),
  );
}
