import type { SourceContact } from "./source.ts";

/** Called when contact is lost, with the error, and when it is back. */
export type ContactListener = (error: Error | undefined) => void;

/** Whether a source can be used, as each part of it that talks to the store finds; tells when that is lost and back. */
export class ContactRecord<Part extends string> {
  readonly #parts: readonly Part[];
  readonly #errors = new Map<Part, Error>();
  readonly #listeners: ContactListener[] = [];
  #lastContactAt: number | undefined;
  #lost = false;

  /** @param parts of several errors that of the first of these counts */
  constructor(parts: readonly Part[]) {
    this.#parts = parts;
  }

  get current(): SourceContact {
    const error = this.#error;
    return {
      ...(this.#lastContactAt === undefined ? {} : { lastContactAt: this.#lastContactAt }),
      ...(error === undefined ? {} : { error }),
    };
  }

  /** The store said something. @param at milliseconds since the epoch */
  heard(at: number): void {
    this.#lastContactAt = at;
  }

  /** What is wrong with these parts now, undefined for nothing; what is known of the others stays. */
  set(errors: Partial<Record<Part, Error | undefined>>): void {
    for (const part of this.#parts) {
      if (!(part in errors)) continue;
      const error = errors[part];
      if (error === undefined) this.#errors.delete(part);
      else this.#errors.set(part, error);
    }
    const error = this.#error;
    if ((error !== undefined) === this.#lost) return;
    this.#lost = error !== undefined;
    for (const listener of this.#listeners) listener(error);
  }

  get(part: Part): Error | undefined {
    return this.#errors.get(part);
  }

  listen(listener: ContactListener): void {
    this.#listeners.push(listener);
  }

  get #error(): Error | undefined {
    for (const part of this.#parts) {
      const error = this.#errors.get(part);
      if (error !== undefined) return error;
    }
    return undefined;
  }
}
