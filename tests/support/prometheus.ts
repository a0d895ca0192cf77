import { describe } from "bun:test";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import type { Netns } from "./netns.ts";
import { unpackedCommand } from "./unpacked.ts";
import { eventually } from "./wait.ts";

const PROMETHEUS = unpackedCommand("prometheus", "prometheus");
const PORT = 9090;

const Answer = v.object({
  data: v.object({ result: v.array(v.object({ value: v.tuple([v.number(), v.string()]) })) }),
});

/** `describe` for tests with a real Prometheus. Where there is none, it skips them and says why in one line. */
export function describeWithPrometheus(name: string, tests: () => void): void {
  if (PROMETHEUS === undefined)
    console.error(`skipped: ${name}: needs Prometheus; get it with: node scripts/setup.mjs test`);
  describe.skipIf(PROMETHEUS === undefined)(name, tests);
}

export interface PrometheusOptions {
  /** addresses by the value of the label instance */
  readonly targets: Readonly<Record<string, string>>;
  /** a rule file's text */
  readonly rules: string;
}

/** A Prometheus in a network namespace that scrapes and looks at its rules every second. */
export class Prometheus implements AsyncDisposable {
  readonly #ns: Netns;
  readonly #child: Bun.Subprocess<"ignore", "ignore", "ignore">;

  private constructor(ns: Netns, child: Bun.Subprocess<"ignore", "ignore", "ignore">) {
    this.#ns = ns;
    this.#child = child;
  }

  /** @param folder for its files; it is made */
  static async start(ns: Netns, folder: string, { targets, rules }: PrometheusOptions): Promise<Prometheus> {
    if (PROMETHEUS === undefined) throw new Error("there is no prometheus");
    mkdirSync(folder, { recursive: true });
    const config = {
      global: { scrape_interval: "1s", evaluation_interval: "1s" },
      rule_files: ["rules.yml"],
      scrape_configs: [
        {
          job_name: "tartan",
          static_configs: Object.entries(targets).map(([instance, address]) => ({
            targets: [address],
            labels: { instance },
          })),
        },
      ],
    };
    await Bun.write(join(folder, "prometheus.yml"), JSON.stringify(config));
    await Bun.write(join(folder, "rules.yml"), rules);
    const command = [
      PROMETHEUS,
      `--config.file=${join(folder, "prometheus.yml")}`,
      `--storage.tsdb.path=${join(folder, "data")}`,
      `--web.listen-address=127.0.0.1:${PORT}`,
      "--log.level=error",
    ];
    const options = { stdin: "ignore", stdout: "ignore", stderr: "ignore" } as const;
    const prometheus = new Prometheus(ns, ns.spawn(command, options));
    await eventually(() => prometheus.value("vector(1)"), { within: 20_000, what: "Prometheus answers" });
    return prometheus;
  }

  /** The value of a query's one result, undefined if it has none. */
  async value(query: string): Promise<number | undefined> {
    const url = `http://127.0.0.1:${PORT}/api/v1/query?query=${encodeURIComponent(query)}`;
    const answer = JSON.parse(await this.#ns.exec(["curl", "--silent", "--show-error", "--fail", url]));
    const [first, second] = v.parse(Answer, answer).data.result;
    if (second !== undefined) throw new Error(`${query} has more than one result`);
    return first === undefined ? undefined : Number(first.value[1]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.exited;
  }
}
