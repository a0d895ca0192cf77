import type { Loss, Step, StepName } from "./result.ts";

/** What is found on the way, in its order. */
export class Findings {
  readonly steps: Step[] = [];
  readonly notes: string[] = [];
  readonly #agentAnswers: boolean;
  #loss: Loss | undefined;

  constructor(agentAnswers: boolean) {
    this.#agentAnswers = agentAnswers;
  }

  /** The first on the way is what loses the packet. */
  get loss(): Loss | undefined {
    return this.#loss;
  }

  ok(step: StepName, text: string): void {
    this.steps.push({ step, ok: true, text });
  }

  lost(step: StepName, text: string, loss: Loss): void {
    this.steps.push({ step, ok: false, text });
    this.#loss ??= loss;
  }

  note(text: string): void {
    this.notes.push(text);
  }

  /** What helps where something of ours is not as it should be. */
  repair(byHand: string): string {
    return this.#agentAnswers
      ? "the agent repairs it by itself within a second; if not, see tartan status and its log"
      : `start the agent, which adds it; until then: ${byHand}`;
  }
}
