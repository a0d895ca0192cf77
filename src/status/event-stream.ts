import type { Event } from "../api/events.ts";
import type { EventLog } from "./event-log.ts";

/** milliseconds between two signs of life, which keep proxies from cutting a quiet stream */
const HEARTBEAT_MS = 15_000;
/** milliseconds after which a client that lost its stream asks again */
const RETRY_MS = 2_000;
/** bytes that may wait for a reader: some thousand events; one that falls further behind is dropped */
const MOST_WAITING = 512 * 1024;

export interface StreamOptions {
  readonly events: EventLog;
  /** which of them */
  readonly isAsked: (event: Event) => boolean;
  /** id of the last one that the reader has; 0 for none */
  readonly after: number;
  /** ends the stream */
  readonly stopping: AbortSignal;
  /** the stream has ended, for whatever reason */
  onEnd(): void;
}

/**
 * Events as they are sent to a browser's EventSource, or to `curl -N` (text/event-stream of the HTML standard): first
 * those that are kept, then each as it happens.
 */
export function eventStream({ events, isAsked, after, stopping, onEnd }: StreamOptions): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  let end = (_close: boolean): void => undefined;
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        const send = (text: string): void => {
          // For a reader that does not read nothing is kept: it can come back, and say what it had last.
          if ((controller.desiredSize ?? 0) <= 0) end(true);
          else controller.enqueue(encoder.encode(text));
        };
        const onEvent = (event: Event): void => {
          if (isAsked(event)) send(frameOf(event));
        };
        const heartbeat = setInterval(() => send(": still here\n\n"), HEARTBEAT_MS);
        const unsubscribe = events.subscribe(onEvent);
        const onStopping = (): void => end(true);
        end = (close) => {
          end = () => undefined;
          clearInterval(heartbeat);
          unsubscribe();
          stopping.removeEventListener("abort", onStopping);
          if (close) controller.close();
          onEnd();
        };
        stopping.addEventListener("abort", onStopping);
        send(firstFrames(events, after, isAsked));
        if (stopping.aborted) end(true);
      },
      cancel() {
        end(false);
      },
    },
    new ByteLengthQueuingStrategy({ highWaterMark: MOST_WAITING }),
  );
}

/** What a reader gets at once: how long to wait before asking again, what it can't have any more, and what is kept. */
function firstFrames(events: EventLog, after: number, isAsked: (event: Event) => boolean): string {
  const kept = events.after();
  const [oldest] = kept;
  const last = kept.at(-1)?.id ?? 0;
  // An id that is not there yet is one of an earlier run of the agent, whose clock was ahead.
  const from = after > last ? 0 : after;
  const gap =
    from > 0 && oldest !== undefined && oldest.id > from + 1
      ? `: events before ${oldest.id} are not kept any more\n\n`
      : "";
  const frames = kept.filter((event) => event.id > from && isAsked(event)).map(frameOf);
  return [`retry: ${RETRY_MS}\n\n`, gap, ...frames].join("");
}

/** One event as one message; its data is one line. */
function frameOf(event: Event): string {
  return `id: ${event.id}\nevent: ${event.kind}\ndata: ${JSON.stringify(event)}\n\n`;
}
