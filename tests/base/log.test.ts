import { describe, expect, test } from "bun:test";
import * as v from "valibot";
import type { LogOptions } from "../../src/base/log.ts";

const LOG = new URL("../../src/base/log.ts", import.meta.url).pathname;

/** What a program writes to standard error that logs one event of each level. */
async function stderrOf(options: LogOptions, body = ""): Promise<string> {
  const script = `
    import { configureLogs, logger } from ${JSON.stringify(LOG)};
    configureLogs(${JSON.stringify(options)});
    const log = logger("kernel");
    log.trace("a trace");
    log.debug("a debug");
    log.info("{what} took {ms} ms: {list}", { what: "a\\n  turn", ms: 1.5, list: ["x", { y: 1 }] });
    log.warn("a warning");
    log.error("an error");
    ${body}
  `;
  const child = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe", stderr: "pipe" });
  const [stderr, stdout] = await Promise.all([child.stderr.text(), child.stdout.text()]);
  expect(await child.exited).toBe(0);
  expect(stdout).toBe("");
  return stderr;
}

const levels = (text: string): string[] => [...text.matchAll(/^\S+ ([A-Z]+)/gm)].map((match) => match[1] ?? "");

describe("the text log", () => {
  test("has one line an event, with time, level and part", async () => {
    const text = await stderrOf({ format: "text", verbosity: 0 });
    expect(levels(text)).toEqual(["INFO", "WARNING", "ERROR"]);
    const [info] = text.split("\n");
    expect(info).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z INFO {4}kernel: a turn took 1.5 ms: /);
    expect(info).toContain('"x"');
    expect(info).toContain("y: 1");
    expect(text.trimEnd().split("\n")).toHaveLength(3);
  });

  test.each([
    [1, ["DEBUG", "INFO", "WARNING", "ERROR"]],
    [2, ["TRACE", "DEBUG", "INFO", "WARNING", "ERROR"]],
    [10, ["TRACE", "DEBUG", "INFO", "WARNING", "ERROR"]],
  ])("says more at -v %d", async (verbosity, expected) => {
    expect(levels(await stderrOf({ format: "text", verbosity }))).toEqual(expected);
  });

  test("that nobody can read any more does not stop the program", async () => {
    const script = `
      import { closeSync } from "node:fs";
      import { configureLogs, logger } from ${JSON.stringify(LOG)};
      configureLogs({ format: "text", verbosity: 0 });
      closeSync(2);
      logger("kernel").info("lost");
      process.stdout.write("alive");
    `;
    const child = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe", stderr: "pipe" });
    expect(await child.stdout.text()).toBe("alive");
    expect(await child.exited).toBe(0);
  });
});

const Line = v.object({
  "@timestamp": v.pipe(v.string(), v.isoTimestamp()),
  level: v.string(),
  message: v.string(),
  logger: v.string(),
  properties: v.record(v.string(), v.unknown()),
});

test("the JSON log has one document a line, with the values beside the message", async () => {
  const text = await stderrOf({ format: "json", verbosity: 0 });
  const lines = text
    .trimEnd()
    .split("\n")
    .map((line) => v.parse(Line, JSON.parse(line)));
  expect(lines.map(({ level }) => level)).toEqual(["INFO", "WARN", "ERROR"]);
  expect(lines[0]).toMatchObject({ logger: "tartan.kernel", properties: { ms: 1.5, list: ["x", { y: 1 }] } });
});
