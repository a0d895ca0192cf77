import { type BackoffLimits, backoffDelay } from "../base/backoff.ts";
import { describeError } from "../base/errors.ts";
import { logger } from "../base/log.ts";
import type { LoopFacts } from "../status/facts.ts";

const log = logger("loop");

const BACKOFF: BackoffLimits = { first: 100, cap: 5_000 };

export interface TurnResult {
  /** whether all could be done; if not, it is tried again with a growing delay */
  readonly complete: boolean;
  /** whether somebody had undone what an earlier turn did */
  readonly undone: boolean;
}

/**
 * Turns that mend what somebody undid are at most this many a second in the long run, with as many at once before that:
 * a drift is mended at once, a fight costs little.
 */
const BURST = 20;
const TURNS_A_SECOND = 10;

/** Runs a turn whenever something may have changed; never two at once. Events only say that there is something to do. */
export class Loop {
  readonly #turn: (causes: readonly string[]) => Promise<TurnResult>;
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

  /** @param turn one that throws counts as not complete */
  constructor(turn: (causes: readonly string[]) => Promise<TurnResult>) {
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
    if (this.#busySince === undefined) this.#schedule(this.#mayRunAt - performance.now());
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
    this.#timer = setTimeout(() => this.#begin(), Math.max(0, delayMs));
  }

  #begin(): void {
    this.#dueAt = Number.POSITIVE_INFINITY;
    // Before the turn's first step, which may mark already.
    this.#busySince = Date.now();
    this.#running = this.#run().finally(() => {
      this.#busySince = undefined;
      this.#running = undefined;
      if (this.#stopped) return;
      if (this.#causes.size > 0) this.#schedule(this.#mayRunAt - performance.now());
      else if (this.#failuresInARow > 0) this.#schedule(backoffDelay(this.#failuresInARow, BACKOFF));
    });
  }

  async #run(): Promise<void> {
    const causes = this.#causes.size > 0 ? [...this.#causes] : ["retry"];
    this.#causes.clear();
    let result: TurnResult = { complete: false, undone: false };
    try {
      result = await this.#turn(causes);
    } catch (error) {
      log.error("a turn of the reconcile loop failed, trying again: {error}", { error: describeError(error) });
    }
    this.#failuresInARow = result.complete ? 0 : this.#failuresInARow + 1;
    this.#mayRunAt = performance.now() + (result.undone ? this.#delayByRate() : 0);
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
