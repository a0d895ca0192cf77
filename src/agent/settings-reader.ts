import { sleep } from "../base/backoff.ts";
import { describeError } from "../base/errors.ts";
import { logger } from "../base/log.ts";
import type { LeaseSource, SourceSettings } from "../lease/source.ts";
import type { Finding } from "../status/facts.ts";

const log = logger("agent");

/** How long a turn waits for the lease source's settings, in milliseconds. */
const SETTINGS_MS = 1000;
const LATE = Symbol("late");

/** Reads what the lease source says before there is a lease; once, for a change of it counts from the next start on. */
export class SettingsReader {
  readonly #source: LeaseSource;
  readonly #stopping: AbortSignal;
  readonly #onLate: () => void;
  #settings: SourceSettings | undefined;
  /** resolves to why that failed */
  #reading: Promise<string | undefined> | undefined;

  /** @param onLate called when an answer came that a `read` had not waited for */
  constructor(source: LeaseSource, stopping: AbortSignal, onLate: () => void) {
    this.#source = source;
    this.#stopping = stopping;
    this.#onLate = onLate;
  }

  get current(): SourceSettings | undefined {
    return this.#settings;
  }

  /** What is in the way ends up in `problems`. @returns undefined if there are none yet */
  async read(problems: Finding[]): Promise<SourceSettings | undefined> {
    if (this.#settings !== undefined) return this.#settings;
    this.#reading ??= this.#ask().finally(() => {
      this.#reading = undefined;
    });
    const reading = this.#reading;
    // A source that does not answer must not hold the loop, which lives all the same.
    const problem = await Promise.race<string | undefined | typeof LATE>([
      reading,
      sleep(SETTINGS_MS, this.#stopping).then(() => LATE),
    ]);
    if (problem === LATE) {
      void reading.then(this.#onLate);
      const where = `${this.#source.kind} ${this.#source.location}`;
      problems.push({ condition: "config", message: `the configuration is awaited: ${where} has not answered yet` });
    } else if (problem !== undefined) problems.push({ condition: "config", message: problem });
    return this.#settings;
  }

  /** @returns why there are none, undefined if there are */
  async #ask(): Promise<string | undefined> {
    try {
      this.#settings = await this.#source.settings(this.#stopping);
      for (const warning of this.#settings.warnings) log.warn("{warning}", { warning });
      return undefined;
    } catch (error) {
      return describeError(error);
    }
  }
}
