import { describe, expect, test } from "bun:test";
import { Netns, pair, useNamespaces } from "./netns.ts";
import { PingLog, startPing, withoutLoss } from "./ping.ts";
import { describeInNamespaces } from "./requires.ts";
import { eventually } from "./wait.ts";

/** A line of ping; `at` in seconds, as -D has it. */
const answer = (at: number, sequence: number, ms: string) =>
  `[${at.toFixed(6)}] 64 bytes from 192.0.2.2: icmp_seq=${sequence} ttl=64 time=${ms} ms`;

describe("what ping prints", () => {
  const log = new PingLog(100_000);
  const lines = [
    "PING 192.0.2.2 (192.0.2.2) 56(84) bytes of data.",
    answer(100.25, 1, "0.052"),
    "[100.500000] no answer yet for icmp_seq=2",
    "From 192.0.2.1 icmp_seq=3 Destination Host Unreachable",
    answer(101, 4, "12"),
    `${answer(101.25, 4, "13")} (DUP!)`,
    "[101.500000] no answer yet for icmp_seq=5",
    answer(101.5, 6, "0.05"),
    // An answer may come after ping has missed it.
    answer(101.75, 5, "31.4"),
  ];
  for (const line of lines) log.add(line);

  test("is counted by sequence number", () => {
    const rttMs = [0.052, 12, 31.4, 0.05];
    expect(log.result(log.sent, 101_760)).toEqual({ sent: 6, received: 4, rttMs, longestGapMs: 750 });
  });

  test("counts up to the packet that is asked for, and the time up to the stop", () => {
    expect(log.result(3, 101_250)).toEqual({ sent: 3, received: 1, rttMs: [0.052], longestGapMs: 750 });
    expect(log.result(3, 100_990)).toEqual({ sent: 3, received: 1, rttMs: [0.052], longestGapMs: 740 });
  });

  test("is known up to the last answer", () => {
    expect([101_750, 101_751].map((moment) => log.isUpTo(moment))).toEqual([true, false]);
  });

  test("has the gap since the moment that is asked for", () => {
    expect(log.result(log.sent, 101_760, 101_100).longestGapMs).toBe(400);
  });

  test("of a ping without an answer is a loss", () => {
    const silent = new PingLog(100_000);
    silent.add("[100.500000] no answer yet for icmp_seq=1");
    expect(silent.result(1, 101_250)).toEqual({ sent: 1, received: 0, rttMs: [], longestGapMs: 1250 });
  });
});

describeInNamespaces("a ping between namespaces", () => {
  const namespaces = useNamespaces();

  /** Two namespaces with a sound ping from one to the other. */
  async function start() {
    const [a, b] = [namespaces.create(), namespaces.create()];
    await pair(
      { ns: a, name: "eth0", addresses: ["192.0.2.1/24"] },
      { ns: b, name: "eth0", addresses: ["192.0.2.2/24"] },
    );
    const ping = startPing(a, "192.0.2.2");
    await ping.answers(10, 10_000);
    return { ping, a, b };
  }

  test("sees the packets that the peer drops", async () => {
    const { ping, b } = await start();
    await b.exec(["ip", "route", "add", "blackhole", "192.0.2.1/32"]);
    await eventually(() => ping.sent - ping.received > 5, { within: 10_000, what: "5 lost packets" });
    await b.exec(["ip", "route", "del", "blackhole", "192.0.2.1/32"]);
    await ping.answers(10, 10_000);
    const { sent, received, rttMs, longestGapMs } = await ping.stop();
    expect(received).toBeGreaterThanOrEqual(20);
    expect(rttMs).toHaveLength(received);
    expect(sent - received).toBeGreaterThanOrEqual(5);
    expect(longestGapMs).toBeGreaterThanOrEqual(50);
  });

  test("while something happens: a loss is an error, and so is what fails meanwhile", async () => {
    const { ping, a, b } = await start();
    await ping.stop();
    expect((await withoutLoss(a, "192.0.2.2", (own) => own.answers(5, 10_000))).received).toBeGreaterThanOrEqual(25);
    const lossy = withoutLoss(a, "192.0.2.2", async (own) => {
      await b.exec(["ip", "route", "add", "blackhole", "192.0.2.1/32"]);
      await eventually(() => own.sent - own.received > 5, { within: 10_000, what: "5 lost packets" });
      await b.exec(["ip", "route", "del", "blackhole", "192.0.2.1/32"]);
    });
    await expect(lossy).rejects.toThrow(/^\d+ of \d+ packets to 192\.0\.2\.2 were lost/);
    const failing = withoutLoss(a, "192.0.2.2", () => Promise.reject(new Error("no luck")));
    await expect(failing).rejects.toThrow("no luck");
  });

  test("sees the gap while its own link is down, in which it sends nothing", async () => {
    const { ping, b } = await start();
    await b.exec(["ip", "link", "set", "eth0", "down"]);
    await Bun.sleep(200);
    await b.exec(["ip", "link", "set", "eth0", "up"]);
    await ping.answers(10, 10_000);
    expect((await ping.stop()).longestGapMs).toBeGreaterThanOrEqual(200);
  });

  test("loses nothing on a sound link, also when it is stopped with a packet on its way", async () => {
    const ns = namespaces.create();
    for (let round = 0; round < 5; round++) {
      const ping = startPing(ns, "127.0.0.1", { intervalMs: 2 });
      await ping.answers(20, 10_000);
      const { sent, received } = await ping.stop();
      expect(sent).toBeGreaterThanOrEqual(20);
      expect(received).toBe(sent);
    }
  });

  test("that can't start says why", async () => {
    using ns = new Netns();
    const ping = startPing(ns, "192.0.2.9");
    await expect(ping.answers(1, 10_000)).rejects.toThrow(/^1 answers from 192\.0\.2\.9: .*Network is unreachable/);
    await expect(ping.stop()).rejects.toThrow("Network is unreachable");
  });
});
