import { closeSync, openSync, readSync } from "node:fs";
import { sleep } from "../../src/base/backoff.ts";
import type { Netns } from "./netns.ts";
import { TemporaryFolder } from "./temp.ts";
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
  /** Waits until `count` more answers have come. @throws Error if they have not within `within` milliseconds, or ping ended */
  answers(count: number, within: number): Promise<void>;
  /**
   * @param since milliseconds since the epoch: the start of the first gap; else the start of ping
   * @throws Error if ping ended before, with what it said
   */
  stop(since?: number): Promise<PingResult>;
}

interface Answer {
  readonly rttMs: number;
  /** milliseconds since the epoch */
  readonly at: number;
}

/** What `ping -D -O` of iputils has printed up to now, line by line. */
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

  /** whether an answer was read of that came in at this moment, in milliseconds since the epoch, or after it */
  isUpTo(moment: number): boolean {
    return this.#answers.values().some(({ at }) => at >= moment);
  }

  /**
   * What became of the packets 1 to `sent`.
   * @param stoppedAt milliseconds since the epoch: the end of the last gap
   * @param since of the same clock: the start of the first gap
   */
  result(sent: number, stoppedAt: number, since = this.#startedAt): PingResult {
    const answers = [...this.#answers].filter(([sequence]) => sequence <= sent).sort(([a], [b]) => a - b);
    // Also of packets that were read of only after the stop.
    const moments = [...this.#answers.values()].map(({ at }) => at).filter((at) => at > since && at < stoppedAt);
    const times = [since, ...moments, stoppedAt].sort((a, b) => a - b);
    const gaps = times.map((at, index) => at - (times[index - 1] ?? at));
    return {
      sent,
      received: answers.length,
      rttMs: answers.map(([, { rttMs }]) => rttMs),
      longestGapMs: Math.max(...gaps),
    };
  }
}

/** What a process writes, in a file without a name: it is there at each look, however busy this process was meanwhile. */
class Output implements Disposable {
  readonly fd: number;
  #read = 0;
  #rest = "";
  #closed = false;

  constructor() {
    using folder = new TemporaryFolder();
    this.fd = openSync(folder.at("output"), "w+");
  }

  /** Whole lines that were written since the last call; none once it is closed. */
  lines(): string[] {
    if (this.#closed) return [];
    const chunks: Buffer[] = [];
    for (let chunk = this.#next(); chunk.length > 0; chunk = this.#next()) chunks.push(chunk);
    const lines = (this.#rest + Buffer.concat(chunks).toString()).split("\n");
    this.#rest = lines.pop() ?? "";
    return lines;
  }

  #next(): Buffer {
    const chunk = Buffer.alloc(65_536);
    const length = readSync(this.fd, chunk, 0, chunk.length, this.#read);
    this.#read += length;
    return chunk.subarray(0, length);
  }

  [Symbol.dispose](): void {
    if (!this.#closed) closeSync(this.fd);
    this.#closed = true;
  }
}

/** Starts iputils' ping in a namespace; it goes on until it is stopped, or until the place goes. */
export function startPing(place: Place, address: string, { intervalMs = 10 } = {}): Ping {
  // -O reports a packet without an answer when the next one is sent, so that no sequence number stays unmentioned.
  const command = ["ping", "-n", "-D", "-O", "-i", `${intervalMs / 1000}`, address];
  const [output, errors] = [new Output(), new Output()];
  const env = { ...process.env, LC_ALL: "C" };
  const child = place.spawn(command, { env, stdin: "ignore", stdout: output.fd, stderr: errors.fd });
  const soFar = new PingLog(Date.now());
  const log = (): PingLog => {
    for (const line of output.lines()) soFar.add(line);
    return soFar;
  };
  const told: string[] = [];
  const ended = (before: string) => {
    told.push(...errors.lines());
    return new Error(`${before}ping ${address} ended by itself: ${told.join(" ").trim()}`);
  };
  return {
    get sent() {
      return log().sent;
    },
    get received() {
      return log().received;
    },
    async answers(count, within) {
      const goal = log().received + count;
      const what = `${count} answers from ${address}`;
      await eventually(() => log().received >= goal || child.exitCode !== null, { within, what });
      if (log().received < goal) throw ended(`${what}: `);
    },
    async stop(since) {
      const { sent } = log();
      const stoppedAt = Date.now();
      // What is in flight is to be answered.
      const isOver = () => log().isUpTo(stoppedAt) && log().result(sent, stoppedAt).received === sent;
      while (!isOver() && Date.now() < stoppedAt + PATIENCE_MS) await sleep(intervalMs);
      const hadEnded = child.exitCode !== null;
      child.kill("SIGINT");
      await child.exited;
      const result = log().result(sent, stoppedAt, since);
      const error = hadEnded ? ended("") : undefined;
      for (const each of [output, errors]) each[Symbol.dispose]();
      if (error !== undefined) throw error;
      return result;
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
    // What is in flight is not lost, and may take its time on a busy machine.
    await eventually(() => lossy().length === 0, { within: 10 * PATIENCE_MS, what: "every packet is answered" }).catch(
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
