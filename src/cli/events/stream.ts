import * as v from "valibot";
import { Event } from "../../api/events.ts";
import { backoffDelay, sleep } from "../../base/backoff.ts";
import { AgentAwayError, describeError } from "../../base/errors.ts";

/** Events as they happen, by a stream that is taken up again after it broke. */

/** milliseconds: the agent gives a sign of life every 15 s */
const SILENCE_MS = 45_000;
/** milliseconds for the answer to begin */
const HEAD_MS = 5_000;

export interface FollowOptions {
  /** opens the stream; `lastId` is that of the last event that came @throws AgentAwayError */
  open(lastId: number | undefined, signal: AbortSignal): Promise<Response>;
  /** told once each time the stream broke off */
  onLost(why: string): void;
  readonly signal: AbortSignal;
}

/** The agent answers, but not by a stream of events. */
class RefusedError extends Error {
  override readonly name = "RefusedError";
}

/**
 * Goes on until the signal aborts.
 * @throws AgentAwayError if it can't be opened the first time, Error if the agent refuses
 */
export async function* followEvents({ open, onLost, signal }: FollowOptions): AsyncGenerator<Event> {
  let lastId: number | undefined;
  let everOpen = false;
  let told = false;
  const tell = (why: string): void => {
    if (!told && !signal.aborted) onLost(why);
    told = true;
  };
  for (let attempt = 1; !signal.aborted; attempt++) {
    // An agent that hangs, or a connection that nobody closed, ends by this.
    using silence = new Silence();
    try {
      silence.within(HEAD_MS);
      const response = await open(lastId, AbortSignal.any([signal, silence.signal]));
      if (!response.ok || response.body === null) throw new RefusedError(`the agent refuses: ${await response.text()}`);
      if (!response.headers.get("content-type")?.startsWith("text/event-stream"))
        throw new RefusedError("what answers there gives no stream of events: it is no agent, or an older one");
      everOpen = true;
      const heard = () => {
        told = false;
        silence.within(SILENCE_MS);
      };
      for await (const data of messages(response.body, heard)) {
        const event = understood(data);
        lastId = event.id;
        attempt = 1;
        yield event;
      }
      tell("the agent ended the stream");
    } catch (error) {
      if (signal.aborted) return;
      const away = silence.signal.aborted ? new AgentAwayError("the agent hangs: it does not answer") : error;
      if (error instanceof RefusedError || !everOpen) throw away;
      tell(describeError(away));
    }
    await sleep(backoffDelay(attempt, { first: 250, cap: 5_000 }), signal);
  }
}

function understood(data: string): Event {
  try {
    return v.parse(Event, JSON.parse(data));
  } catch (cause) {
    throw new RefusedError("the agent's events are not what this version knows: use its own executable", { cause });
  }
}

/** Aborts once nothing was heard for some time. */
class Silence implements Disposable {
  readonly #controller = new AbortController();
  #timer: NodeJS.Timeout | undefined;

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** From now on. @param milliseconds without a further call */
  within(milliseconds: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#controller.abort(), milliseconds);
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }
}

/** The data of each message of an event stream (HTML standard, 9.2.6), as far as the agent makes use of it. */
export async function* messages(body: AsyncIterable<Uint8Array>, onChunk: () => void): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of body) {
    onChunk();
    rest += decoder.decode(chunk, { stream: true });
    for (let end = rest.indexOf("\n\n"); end >= 0; end = rest.indexOf("\n\n")) {
      const lines = rest.slice(0, end).split("\n");
      rest = rest.slice(end + 2);
      const data = lines.flatMap((line) => (line.startsWith("data:") ? [line.slice(5).replace(/^ /, "")] : []));
      if (data.length > 0) yield data.join("\n");
    }
  }
}
