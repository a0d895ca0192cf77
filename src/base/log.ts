import { writeSync } from "node:fs";
import {
  configureSync,
  getJsonLinesFormatter,
  getLogger,
  getTextFormatter,
  type Logger,
  type LogRecord,
} from "@logtape/logtape";

export type { Logger };

export interface LogOptions {
  readonly format: "text" | "json";
  /** klog's verbosity: 0 tells what an operator wants to know, 1 adds each reconcile, 2 and more each operation */
  readonly verbosity: number;
}

/** The log of one part of the program: `kernel`, `lease`, … Messages take values by name: `log.info("… {name}", { name })`. */
export function logger(part: string): Logger {
  return getLogger(["tartan", part]);
}

/** The least that is told: `info`, or each reconcile as well, or each operation, too. */
export type LowestLevel = "info" | "debug" | "trace";

let format: LogOptions["format"] = "text";
let lowestLevel: LowestLevel = "info";

/** Sends all logs to standard error, one line an event. */
export function configureLogs(options: LogOptions): void {
  format = options.format;
  setLogLevel(options.verbosity >= 2 ? "trace" : options.verbosity === 1 ? "debug" : "info");
}

export function logLevel(): LowestLevel {
  return lowestLevel;
}

/** From now on, and until the program ends or it is set again. */
export function setLogLevel(level: LowestLevel): void {
  lowestLevel = level;
  const text = getTextFormatter({
    timestamp: "rfc3339",
    value: (value) => (typeof value === "string" ? value : Bun.inspect(value, { compact: true })),
    format: ({ timestamp, record, message }) =>
      `${timestamp} ${record.level.toUpperCase().padEnd(7)} ${record.category.slice(1).join(".")}: ${message}`.replace(
        /\s*\n\s*/g,
        " ",
      ),
  });
  const line = format === "json" ? getJsonLinesFormatter({ categorySeparator: "." }) : text;
  const sink = (record: LogRecord): void => {
    try {
      writeSync(2, line(record));
    } catch {
      // A reader that is gone or too slow (EPIPE, EAGAIN) must not stop the data path.
    }
  };
  configureSync({
    reset: true,
    sinks: { stderr: sink },
    loggers: [
      { category: ["tartan"], lowestLevel, sinks: ["stderr"] },
      { category: ["logtape", "meta"], lowestLevel: "error", sinks: ["stderr"] },
    ],
  });
}
