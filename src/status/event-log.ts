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
/** Of what happens more often than so within so many milliseconds, the rest is counted at the last of these. */
const SAME_MOST = 3;
const SAME_MS = 10_000;

/**
 * Remembers the last things that happened, for `/debug/events`. A storm, as when another program undoes our work ten times
 * a second, does not wash the rest out: what happens again and again is only counted, and when there is no room left, the
 * kind of which there are the most gives way.
 */
export class EventLog {
  readonly #capacity: number;
  /** by id, so the oldest first */
  readonly #events = new Map<number, Event>();
  readonly #totals: Partial<Record<EventKind, number>> = {};
  readonly #counts = new Map<EventKind, number>();
  /** by kind, node and message: the last event, how many there were of late, and until when that is */
  readonly #same = new Map<string, { readonly id: number; readonly count: number; readonly until: number }>();
  readonly #listeners = new Set<(event: Event) => void>();
  readonly #now: () => number;
  #next: number;

  /** @param now milliseconds since the epoch; @param first the id of the first event */
  constructor(capacity: number = CAPACITY, now: () => number = Date.now, first = 1) {
    this.#capacity = capacity;
    this.#now = now;
    this.#next = first;
  }

  /**
   * For an agent that starts now. Its ids go on beyond those of the agent that ran here before, which had fewer events than
   * milliseconds: so a reader that comes back after a new start misses nothing.
   */
  static ofAgent(): EventLog {
    return new EventLog(CAPACITY, Date.now, Date.now());
  }

  add({ kind, message, level = "info", node, cause, durationMs }: NewEvent): void {
    this.#totals[kind] = (this.#totals[kind] ?? 0) + 1;
    const now = this.#now();
    const name = nameOf(kind, node, message);
    const known = this.#same.get(name);
    const same = known !== undefined && now < known.until ? known : { id: 0, count: 0, until: now + SAME_MS };
    const before = this.#events.get(same.id);
    if (before !== undefined && same.count >= SAME_MOST) {
      this.#events.set(before.id, { ...before, times: before.times + 1 });
      return;
    }
    const event: Event = {
      id: this.#next++,
      at: new Date(now).toISOString(),
      kind,
      level,
      message,
      node: node ?? null,
      cause: cause ?? null,
      durationMs: durationMs === undefined ? null : Math.round(durationMs * 1000) / 1000,
      times: 1,
    };
    this.#events.set(event.id, event);
    this.#counts.set(kind, (this.#counts.get(kind) ?? 0) + 1);
    this.#same.set(name, { id: event.id, count: same.count + 1, until: same.until });
    if (this.#events.size > this.#capacity) this.#makeRoom();
    for (const listener of this.#listeners) listener(event);
  }

  /** How often each kind happened, also what is counted with another event or not kept any more. */
  get totals(): Readonly<Partial<Record<EventKind, number>>> {
    return this.#totals;
  }

  /** Those that are kept and came after the one with this id, the oldest first. Their ids have gaps. */
  after(id = 0): Event[] {
    return [...this.#events.values()].filter((event) => event.id > id);
  }

  /**
   * @param listener called for each event from now on, before `add` returns, but not for those that are only counted
   * @returns ends that
   */
  subscribe(listener: (event: Event) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The oldest goes of the kind of which there are the most. */
  #makeRoom(): void {
    const most = Math.max(...this.#counts.values());
    for (const { id, kind, node, message } of this.#events.values()) {
      if (this.#counts.get(kind) !== most) continue;
      this.#events.delete(id);
      this.#counts.set(kind, most - 1);
      const name = nameOf(kind, node ?? undefined, message);
      if (this.#same.get(name)?.id === id) this.#same.delete(name);
      return;
    }
  }
}

function nameOf(kind: EventKind, node: string | undefined, message: string): string {
  return JSON.stringify([kind, node, message]);
}
