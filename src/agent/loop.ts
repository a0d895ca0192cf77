import { type BackoffLimits, backoffDelay } from "../base/backoff.ts";
import { describeError } from "../base/errors.ts";
import { logger } from "../base/log.ts";
import type { LoopFacts } from "../status/facts.ts";

const log = logger("loop");

const BACKOFF: BackoffLimits = { first: 100, cap: 5_000 };

/**
 * Turns are at most this many a second in the long run, with as many at once before that: a drift is mended at once,
 * somebody who undoes our work all the time costs little.
 */
const BURST = 20;
const TURNS_A_SECOND = 10;

/** Runs a turn whenever something may have changed; never two at once. Events only say that there is something to do. */
export class Loop {
  readonly #turn: (causes: readonly string[]) => Promise<{ readonly complete: boolean }>;
  readonly #causes = new Set<string>();
  #timer: Timer | undefined;
  #running: Promise<void> | undefined;
  #stopped = false;
  #busySince: number | undefined;
  #lastTurnAt: number | undefined;
  #turns = 0;
  #failuresInARow = 0;
  /** by the monotonic clock, as the rate allows */
  #mayRunAt = 0;
  #dueAt = Number.POSITIVE_INFINITY;
  #tokens = BURST;
  #tokensAt = performance.now();

  /** @param turn says whether all could be done; if not, or if it throws, it is tried again with a growing delay */
  constructor(turn: (causes: readonly string[]) => Promise<{ readonly complete: boolean }>) {
    this.#turn = turn;
  }

  facts(): LoopFacts {
    return {
      turns: this.#turns,
      failuresInARow: this.#failuresInARow,
      ...(this.#busySince === undefined ? {} : { busySince: this.#busySince }),
      ...(this.#lastTurnAt === undefined ? {} : { lastTurnAt: this.#lastTurnAt }),
    };
  }

  /** There is something to do. Of many causes before the next turn each is kept once, up to a few. */
  mark(cause: string): void {
    if (this.#stopped) return;
    if (this.#causes.size < 10) this.#causes.add(cause);
    if (this.#running === undefined) this.#schedule(this.#mayRunAt - performance.now());
  }

  /** No further turn; resolves when the one under way has ended. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#running;
  }

  /** The earliest of the times asked for counts, so that a stream of events does not put the turn off. */
  #schedule(delayMs: number): void {
    const dueAt = performance.now() + Math.max(0, delayMs);
    if (dueAt >= this.#dueAt) return;
    clearTimeout(this.#timer);
    this.#dueAt = dueAt;
    this.#timer = setTimeout(
      () => {
        this.#dueAt = Number.POSITIVE_INFINITY;
        this.#running = this.#run().finally(() => {
          this.#running = undefined;
          if (this.#stopped) return;
          const delay = this.#delayByRate();
          this.#mayRunAt = performance.now() + delay;
          if (this.#causes.size > 0) this.#schedule(delay);
          else if (this.#failuresInARow > 0) this.#schedule(backoffDelay(this.#failuresInARow, BACKOFF));
        });
      },
      Math.max(0, delayMs),
    );
  }

  async #run(): Promise<void> {
    const causes = this.#causes.size > 0 ? [...this.#causes] : ["retry"];
    this.#causes.clear();
    this.#busySince = Date.now();
    let complete = false;
    try {
      ({ complete } = await this.#turn(causes));
    } catch (error) {
      log.error("a turn of the reconcile loop failed, trying again: {error}", { error: describeError(error) });
    }
    this.#failuresInARow = complete ? 0 : this.#failuresInARow + 1;
    this.#busySince = undefined;
    this.#lastTurnAt = Date.now();
    this.#turns++;
  }

  /** Milliseconds until the next turn may begin. */
  #delayByRate(): number {
    const now = performance.now();
    this.#tokens = Math.min(BURST, this.#tokens + ((now - this.#tokensAt) / 1000) * TURNS_A_SECOND) - 1;
    this.#tokensAt = now;
    return this.#tokens >= 0 ? 0 : (-this.#tokens / TURNS_A_SECOND) * 1000;
  }
}
