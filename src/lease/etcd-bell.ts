/** Wakes one waiter, now or when it comes to wait. */
export class Bell {
  #rung = Promise.withResolvers<void>();

  ring(): void {
    this.#rung.resolve();
  }

  /** Resolves when the bell rings or has rung since the last wait, or when the signal aborts. */
  async wait(signal: AbortSignal): Promise<void> {
    const ring = () => this.ring();
    if (signal.aborted) return;
    signal.addEventListener("abort", ring);
    await this.#rung.promise;
    signal.removeEventListener("abort", ring);
    this.#rung = Promise.withResolvers<void>();
  }
}
