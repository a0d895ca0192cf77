import { Refusal } from "./refusals.ts";

/**
 * Lets so many pieces of work go on at a time; the others wait for their turn, the first the first. A list of thousands
 * takes some megabytes while it is made: whoever asks for many at once shall not have the agent run out of memory.
 */
export class Turns {
  readonly #most: number;
  readonly #mostWaiting: number;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(most: number, mostWaiting: number) {
    this.#most = most;
    this.#mostWaiting = mostWaiting;
  }

  /** @throws Refusal with status 503 if too many wait already, and whatever the work throws */
  async take<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running < this.#most) this.#running++;
    else await this.#turn();
    try {
      return await work();
    } finally {
      // Whoever is next takes over this place.
      const next = this.#waiting.shift();
      if (next === undefined) this.#running--;
      else next();
    }
  }

  #turn(): Promise<void> {
    if (this.#waiting.length >= this.#mostWaiting)
      throw new Refusal(503, `${this.#mostWaiting} others wait for a list already: ask again in a moment`);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push(resolve);
    return promise;
  }
}
