import type { Event, EventKind } from "../api/events.ts";

export interface NewEvent {
  readonly kind: EventKind;
  readonly message: string;
  /** `info` unless given */
  readonly level?: Event["level"];
  /** the node or the lease that it is about */
  readonly node?: string;
  readonly cause?: string;
  readonly durationMs?: number;
}

const CAPACITY = 1000;

/** Remembers the last things that happened, for `/debug/events`. */
export class EventLog {
  readonly #capacity: number;
  /** as a ring: the event with id n is at n modulo the capacity */
  readonly #events: Event[] = [];
  readonly #listeners = new Set<(event: Event) => void>();
  #next = 1;

  constructor(capacity: number = CAPACITY) {
    this.#capacity = capacity;
  }

  add({ kind, message, level = "info", node, cause, durationMs }: NewEvent): void {
    const event: Event = {
      id: this.#next++,
      at: new Date().toISOString(),
      kind,
      level,
      message,
      node: node ?? null,
      cause: cause ?? null,
      durationMs: durationMs ?? null,
    };
    this.#events[event.id % this.#capacity] = event;
    for (const listener of this.#listeners) listener(event);
  }

  /** Those that are kept and came after the one with this id, the oldest first. */
  after(id = 0): Event[] {
    const kept: Event[] = [];
    for (let at = Math.max(id + 1, this.#next - this.#capacity, 1); at < this.#next; at++) {
      const event = this.#events[at % this.#capacity];
      if (event !== undefined) kept.push(event);
    }
    return kept;
  }

  /** @param listener called for each event from now on, before `add` returns; @returns ends that */
  subscribe(listener: (event: Event) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
