import type { Family } from "../../src/net/family.ts";
import type { Train } from "../../src/probe/round.ts";

/** A network without packets: each probe that `answers` says yes to is answered at once. */
export class FakeCarrier {
  /** probes that were sent, the oldest first */
  readonly sent: Train[] = [];
  answersTo: (train: Train) => boolean = () => true;
  /** probes that this node itself does not send */
  refuses: (train: Train) => boolean = () => false;
  /** milliseconds between a probe and its answer, as the stamps say */
  rtt = 1;
  readonly #answers: { number: number; at: number }[] = [];

  carries(_family: Family, _way: "overlay" | "underlay"): boolean {
    return true;
  }

  send(train: Train): { number: number; at: number } | undefined {
    const number = this.sent.push(train);
    if (this.refuses(train)) return undefined;
    const at = Date.now();
    if (this.answersTo(train)) this.answer(number, at + this.rtt);
    return { number, at };
  }

  /** An answer of whatever number, at any time. */
  answer(number: number, at: number): void {
    this.#answers.push({ number, at });
  }

  answers(): { number: number; at: number }[] {
    return this.#answers.splice(0);
  }
}
