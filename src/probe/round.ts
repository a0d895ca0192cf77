import { sleep } from "../base/backoff.ts";
import type { Address } from "../net/address.ts";
import type { Family } from "../net/family.ts";
import type { Path } from "./records.ts";

/** In milliseconds. */
export interface Pace {
  /** how long after a probe without an answer the next one of its train follows */
  readonly step: number;
  /** an answer that takes longer counts as lost */
  readonly timeout: number;
}

export const PACE: Pace = { step: 200, timeout: 1000 };

/**
 * Probes of one peer along one path, in one round: the first one, and, as long as nothing answers, up to `most` in all. So
 * one packet that was lost is no outage, and an outage is told after one round.
 */
export interface Train {
  readonly row: number;
  readonly family: Family;
  readonly path: Path;
  readonly target: Address;
  /** of the ICMP message */
  readonly bytes: number;
  readonly most: number;
  /** begins only when this one was answered, or when all of this one are sent and none was answered */
  readonly behind?: Train;
  readonly afterSilence?: Train;
  /** nothing has answered along this path yet, or nothing did of late */
  readonly fromSilence?: boolean;
  sent: number;
  answered: number;
  /** of those sent: that did not leave this node */
  refused: number;
}

/** What carries the probes. Moments are milliseconds since the epoch, with fractions. */
export interface Carrier {
  /**
   * Sends one probe of the train; that there is no way to the peer is as if it were lost.
   * @returns its number, and when it was sent; undefined: this node itself refuses to send it, which says nothing of the peer
   */
  send(train: Train): { readonly number: number; readonly at: number } | undefined;
  /** the answers that came since the last call, with the moment at which each came in */
  answers(): Iterable<{ readonly number: number; readonly at: number }>;
}

/** @param rtt milliseconds; undefined: the probe was lost */
export type Result = (train: Train, rtt: number | undefined) => void;

interface Flight {
  readonly train: Train;
  readonly sentAt: number;
  /** by the monotonic clock */
  readonly since: number;
}

/**
 * Sends the trains and gathers their answers until each has one, or is lost. The sockets are looked into a few times, not at
 * each answer: the kernel notes when that came in.
 * @param signal ends it at once; what is under way then counts neither way
 */
export async function runRound(
  trains: readonly Train[],
  carrier: Carrier,
  result: Result,
  signal: AbortSignal,
  { step, timeout }: Pace = PACE,
): Promise<void> {
  const flights = new Map<number, Flight>();
  // What came too late for the last round.
  for (const _ of carrier.answers());
  for (;;) {
    const now = performance.now();
    for (const { number, at } of carrier.answers()) {
      const flight = flights.get(number);
      if (flight === undefined) continue;
      flights.delete(number);
      const rtt = roundTrip(flight, at, now);
      if (rtt <= timeout) flight.train.answered++;
      result(flight.train, rtt <= timeout ? rtt : undefined);
    }
    for (const [number, { train, since }] of flights) {
      if (now - since <= timeout) continue;
      flights.delete(number);
      result(train, undefined);
    }
    for (const train of trains) {
      if (!isDue(train)) continue;
      const sent = carrier.send(train);
      train.sent++;
      if (sent === undefined) train.refused++;
      else flights.set(sent.number, { train, sentAt: sent.at, since: performance.now() });
    }
    if (flights.size === 0 && !trains.some(isDue)) return;
    await sleep(step, signal);
    if (signal.aborted) return;
  }
}

function isDue({ answered, sent, most, behind, afterSilence }: Train): boolean {
  if (answered > 0 || sent === most) return false;
  if (afterSilence !== undefined)
    return afterSilence.answered === 0 && afterSilence.sent === afterSilence.most && !wasRefused(afterSilence);
  return behind === undefined || behind.answered > 0;
}

/** Whether nothing of it left this node. */
export function wasRefused({ sent, refused }: Train): boolean {
  return sent > 0 && refused === sent;
}

/** Where somebody set the clock meanwhile, the time until the answer was seen is all that is known. */
function roundTrip({ sentAt, since }: Flight, at: number, now: number): number {
  const most = now - since;
  const measured = at - sentAt;
  return measured > 0 && measured <= most ? measured : most;
}
