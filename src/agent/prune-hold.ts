/**
 * After our lease was made anew (the store was wiped, or is new) nothing is pruned for this long: the other nodes' leases
 * may be on their way back, too.
 */
const PRUNE_HOLD_MS = 10_000;

/** Says whether what is ours and not desired may go. */
export class PruneHold {
  readonly #startedAt: number;
  readonly #onEnd: () => void;
  #timer: Timer | undefined;

  /**
   * @param startedAt of the agent, in milliseconds since the epoch: an older lease was not made anew
   * @param onEnd pruning was held back, and is not any more
   */
  constructor(startedAt: number, onEnd: () => void) {
    this.#startedAt = startedAt;
    this.#onEnd = onEnd;
  }

  mayPrune(leaseCreatedAt: number | undefined): boolean {
    if (leaseCreatedAt === undefined || leaseCreatedAt < this.#startedAt) return true;
    const left = leaseCreatedAt + PRUNE_HOLD_MS - Date.now();
    if (left <= 0) return true;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#onEnd, left);
    return false;
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}
