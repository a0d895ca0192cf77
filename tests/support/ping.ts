import { sleep } from "../../src/base/backoff.ts";
import type { Netns } from "./netns.ts";
import { eventually } from "./wait.ts";

/** milliseconds that an answer may still take once the ping is to stop */
const PATIENCE_MS = 500;
const ANSWER = /^\[([\d.]+)\] \d+ bytes from .*time=([\d.]+) ms(?! \(DUP!\))/;
const SENT = /icmp_seq=(\d+)/;

/** Where a ping can be started: a namespace, or something that has one. */
export type Place = Pick<Netns, "spawn">;

export interface PingResult {
  /** packets sent before the stop; those in flight had time to be answered */
  readonly sent: number;
  readonly received: number;
  /** round-trip times in milliseconds, by sequence number */
  readonly rttMs: readonly number[];
  /**
   * the longest time without an answer, in milliseconds; it also shows what `sent` does not count: packets that ping's
   * own host refused to take
   */
  readonly longestGapMs: number;
}

export interface Ping {
  /** packets so far, answered or not, and answers */
  readonly sent: number;
  readonly received: number;
  /** Waits until `count` more answers have come. @throws Error if they have not within `within` milliseconds */
  answers(count: number, within: number): Promise<void>;
  /** @throws Error if ping ended before, with what it said */
  stop(): Promise<PingResult>;
}

interface Answer {
  readonly rttMs: number;
  /** milliseconds since the epoch */
  readonly at: number;
}

/** What `ping -D -O` of iputils has printed up to now, read line by line. */
export class PingLog {
  readonly #answers = new Map<number, Answer>();
  readonly #startedAt: number;
  #sent = 0;

  /** @param startedAt milliseconds since the epoch: the start of the first gap */
  constructor(startedAt: number) {
    this.#startedAt = startedAt;
  }

  add(line: string): void {
    const sequence = Number(SENT.exec(line)?.[1] ?? 0);
    this.#sent = Math.max(this.#sent, sequence);
    const answer = ANSWER.exec(line);
    if (answer) this.#answers.set(sequence, { at: Number(answer[1]) * 1000, rttMs: Number(answer[2]) });
  }

  /** the highest sequence number that was mentioned, whether answered or not */
  get sent(): number {
    return this.#sent;
  }

  get received(): number {
    return this.#answers.size;
  }

  /**
   * What became of the packets 1 to `sent`.
   * @param stoppedAt milliseconds since the epoch: the end of the last gap
   */
  result(sent: number, stoppedAt: number): PingResult {
    const answers = [...this.#answers].filter(([sequence]) => sequence <= sent).sort(([a], [b]) => a - b);
    const times = [this.#startedAt, ...answers.map(([, { at }]) => at), stoppedAt].sort((a, b) => a - b);
    const gaps = times.map((at, index) => at - (times[index - 1] ?? at));
    return {
      sent,
      received: answers.length,
      rttMs: answers.map(([, { rttMs }]) => rttMs),
      longestGapMs: Math.max(...gaps),
    };
  }
}

/** Starts iputils' ping in a namespace; it goes on until it is stopped, or until the place goes. */
export function startPing(place: Place, address: string, { intervalMs = 10 } = {}): Ping {
  // -O reports a packet without an answer when the next one is sent, so that no sequence number stays unmentioned.
  const command = ["ping", "-n", "-D", "-O", "-i", `${intervalMs / 1000}`, address];
  const child = place.spawn(command, { env: { ...process.env, LC_ALL: "C" }, stdout: "pipe", stderr: "pipe" });
  const log = new PingLog(Date.now());
  const reading = readLines(child.stdout, (line) => log.add(line));
  const errors = child.stderr.text();
  return {
    get sent() {
      return log.sent;
    },
    get received() {
      return log.received;
    },
    async answers(count, within) {
      const goal = log.received + count;
      await eventually(() => log.received >= goal, { within, what: `${count} answers from ${address}` });
    },
    async stop() {
      const { sent } = log;
      const stoppedAt = Date.now();
      const inFlight = () => log.result(sent, stoppedAt).received < sent;
      while (inFlight() && Date.now() < stoppedAt + PATIENCE_MS) await sleep(intervalMs);
      const ended = child.exitCode !== null;
      child.kill("SIGINT");
      await Promise.all([child.exited, reading]);
      if (ended) throw new Error(`ping ${address} ended by itself: ${(await errors).trim()}`);
      return log.result(sent, stoppedAt);
    },
  };
}

/**
 * Pings from a namespace while something happens, and some time before and after.
 * @throws Error unless every packet was answered; or what `happening` threw
 */
export async function withoutLoss(
  place: Place,
  address: string,
  happening: (ping: Ping) => Promise<unknown>,
): Promise<PingResult> {
  const ping = startPing(place, address);
  try {
    await ping.answers(10, 10_000);
    await happening(ping);
    await ping.answers(10, 10_000);
  } catch (error) {
    await ping.stop().catch(() => undefined);
    throw error;
  }
  const result = await ping.stop();
  const { sent, received, longestGapMs } = result;
  if (received === sent) return result;
  throw new Error(`${sent - received} of ${sent} packets to ${address} were lost, in gaps of up to ${longestGapMs} ms`);
}

/** From where to which address. */
export interface Way {
  readonly from: Place;
  readonly to: string;
  /** for messages, as in `n1 to n2` */
  readonly name: string;
}

/** Pings on several ways at once, a hundred a second on each, that go on until they are stopped. */
export class Pings {
  readonly #pings: readonly (Way & { readonly ping: Ping })[];

  constructor(ways: readonly Way[]) {
    this.#pings = ways.map((way) => ({ ...way, ping: startPing(way.from, way.to) }));
  }

  /** Waits for more answers on each way. @throws Error that names the ways on which a packet is lost up to now */
  async lossless(): Promise<void> {
    await Promise.all(this.#pings.map(({ ping }) => ping.answers(20, 10_000)));
    const lossy = () => this.#pings.filter(({ ping }) => ping.received < ping.sent);
    // What is in flight is not lost.
    await eventually(() => lossy().length === 0, { within: PATIENCE_MS, what: "every packet is answered" }).catch(
      () => {
        const told = lossy().map(({ name, ping }) => `${name}: ${ping.sent - ping.received} of ${ping.sent}`);
        if (told.length > 0) throw new Error(`packets were lost: ${told.join("; ")}`);
      },
    );
  }

  /** @returns the results by the ways' names */
  async stop(): Promise<Map<string, PingResult>> {
    const results = this.#pings.map(async ({ name, ping }) => [name, await ping.stop()] as const);
    return new Map(await Promise.all(results));
  }
}

async function readLines(stream: ReadableStream<Uint8Array>, use: (line: string) => void): Promise<void> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) use(line);
  }
}
