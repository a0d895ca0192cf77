/** At most so many peers have a turn in one round, so that its cost does not grow with the cluster. */
export const MOST_A_ROUND = 64;
/** At least this share of the turns is for peers in trouble, as long as there are as many: 16 of 64. */
const FOR_TROUBLED = 1 / 4;

/**
 * Whose turn it is. Every peer has its place in an order of chance, in which the rounds go on, so that each of n has its turn
 * in n/64 rounds, rounded up, or in n/48 while 16 or more are in trouble; those are asked again sooner. New ones come first.
 */
export class Rota {
  #order: number[] = [];
  /** places in the order from which the next turns are taken: those of peers in trouble, and those of the others */
  #cursors = { troubled: 0, others: 0 };
  #fresh: number[] = [];

  add(peer: number): void {
    this.#fresh.push(peer);
  }

  retain(stays: (peer: number) => boolean): void {
    const placeOf = (cursor: number) => this.#order.slice(0, cursor).filter(stays).length;
    this.#cursors = { troubled: placeOf(this.#cursors.troubled), others: placeOf(this.#cursors.others) };
    this.#order = this.#order.filter(stays);
    this.#fresh = this.#fresh.filter(stays);
  }

  /** @param troubled peers that had a turn already; @returns at most 64, none twice */
  next(troubled: ReadonlySet<number>): number[] {
    const begun: number[] = [];
    const forNew = evenly(this.#order.length + this.#fresh.length, MOST_A_ROUND);
    while (begun.length < forNew && this.#fresh.length > 0) begun.push(this.#takeFresh());
    const left = MOST_A_ROUND - begun.length;
    // Where many are in trouble, they are asked no less than the others.
    const share = Math.max(FOR_TROUBLED, troubled.size / Math.max(1, this.#order.length));
    const kept = Math.min(troubled.size, Math.floor(left * share));
    const others = this.#order.length - troubled.size;
    const forOthers = Math.min(evenly(others, left - kept), Math.max(0, forNew - begun.length));
    const turns = this.#take("others", forOthers, (peer) => !troubled.has(peer));
    turns.push(...this.#take("troubled", left - forOthers, (peer) => troubled.has(peer)));
    // The new ones' next turn is after everybody else's.
    const place = this.#cursors.others;
    this.#order.splice(place, 0, ...begun);
    this.#cursors.others += begun.length;
    if (this.#cursors.troubled >= place) this.#cursors.troubled += begun.length;
    return [...begun, ...turns];
  }

  #take(cursor: "troubled" | "others", most: number, isWanted: (peer: number) => boolean): number[] {
    const taken: number[] = [];
    for (let left = this.#order.length; left > 0 && taken.length < most; left--) {
      const place = this.#cursors[cursor] % this.#order.length;
      const peer = this.#order[place];
      this.#cursors[cursor] = place + 1;
      if (peer !== undefined && isWanted(peer)) taken.push(peer);
    }
    return taken;
  }

  #takeFresh(): number {
    const index = Math.floor(Math.random() * this.#fresh.length);
    const taken = this.#fresh[index];
    const last = this.#fresh.pop();
    if (taken === undefined || last === undefined) throw new RangeError("there is no new peer");
    if (index < this.#fresh.length) this.#fresh[index] = last;
    return taken;
  }
}

/** Turns in a round, so that all of them have one in as few rounds as can be, and in each about as many. */
function evenly(peers: number, most: number): number {
  return most <= 0 ? 0 : Math.ceil(peers / Math.max(1, Math.ceil(peers / most)));
}
