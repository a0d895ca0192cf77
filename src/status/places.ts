import { Refusal } from "./refusals.ts";

/** So many of something at a time, each of which takes some memory as long as it lasts. */
export class Places {
  readonly #most: number;
  readonly #full: string;
  #taken = 0;

  /** @param full what whoever finds none free is told, with the number before it */
  constructor(most: number, full: string) {
    this.#most = most;
    this.#full = full;
  }

  /**
   * @returns what gives the place back; calls after the first do nothing
   * @throws Refusal with status 503 if none is free
   */
  take(): () => void {
    if (this.#taken >= this.#most) throw new Refusal(503, `${this.#most} ${this.#full}`);
    this.#taken++;
    let isFree = false;
    return () => {
      if (!isFree) this.#taken--;
      isFree = true;
    };
  }
}
