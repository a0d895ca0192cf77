import { describe, expect, test } from "bun:test";
import { addressCommand, describeBatchFailure } from "../../src/cli/lab/ip.ts";
import { inParallel } from "../../src/cli/lab/parallel.ts";
import { parsePingSummary } from "../../src/cli/lab/ping.ts";
import { missingCapabilities } from "../../src/cli/lab/preflight.ts";
import { startTimeOf } from "../../src/cli/lab/processes.ts";
import { parseAddress } from "../../src/net/address.ts";

describe("parsePingSummary", () => {
  test.each([
    [
      "all answered",
      `PING 10.244.2.2 (10.244.2.2) 56(84) bytes of data.

--- 10.244.2.2 ping statistics ---
3 packets transmitted, 3 received, 0% packet loss, time 401ms
rtt min/avg/max/mdev = 0.052/0.097/0.142/0.036 ms
`,
      { sent: 3, received: 3, rttMs: 0.097 },
    ],
    [
      "some lost, some twice",
      `--- 10.244.2.2 ping statistics ---
3 packets transmitted, 2 received, +1 duplicates, 33.3333% packet loss, time 402ms
rtt min/avg/max/mdev = 1.5/10/20.125/7 ms, pipe 2
`,
      { sent: 3, received: 2, rttMs: 10 },
    ],
    [
      "errors instead of answers",
      `--- 10.244.2.2 ping statistics ---
3 packets transmitted, 0 received, +3 errors, 100% packet loss, time 2041ms
pipe 3
`,
      { sent: 3, received: 0, rttMs: null },
    ],
  ])("reads a summary: %s", (_, output, expected) => {
    expect(parsePingSummary(output)).toEqual(expected);
  });

  test.each(["", "ping: connect: Network is unreachable\n", "3 packets"])("finds none in %p", (output) => {
    expect(parsePingSummary(output)).toBeUndefined();
  });
});

test.each([
  ["192.0.2.1", 24, "address add 192.0.2.1/24 broadcast + dev eth0"],
  ["198.51.100.1", 32, "address add 198.51.100.1/32 dev eth0"],
  ["2001:db8::1", 64, "address add 2001:db8::1/64 nodad dev eth0"],
] as const)("the address %p, %p bits, can be used at once", (text, length, expected) => {
  const address = parseAddress(text);
  expect(address && addressCommand(address, length, "eth0")).toBe(expected);
});

describe("describeBatchFailure", () => {
  const COMMANDS = ["link set lo up", "link add br0 type bridge"];

  test("names the command, the namespace and ip's reason", () => {
    const stderr = "Error: Unknown device type.\nCommand failed -:2\n";
    expect(describeBatchFailure(COMMANDS, stderr, "ns1")).toBe(
      "ip link add br0 type bridge (in ns1): Error: Unknown device type.",
    );
  });

  test("names all commands when ip does not tell which failed", () => {
    expect(describeBatchFailure(COMMANDS, 'Cannot open network namespace "ns1": No such file or directory\n')).toBe(
      'ip link set lo up; link add br0 type bridge: Cannot open network namespace "ns1": No such file or directory',
    );
  });
});

describe("startTimeOf", () => {
  const REST = "1 2 3 0 -1 4194560 5 6 7 8 9 10 11 12 20 0 1 0 987654 104857600 500 18446744073709551615\n";

  test.each([
    ["plain", `42 (tartan) S ${REST}`, "987654"],
    ["a command with blanks and parentheses", `42 (a) b (c) R ${REST}`, "987654"],
    ["a zombie", `42 (tartan) Z ${REST}`, undefined],
    ["no such process", "", undefined],
  ])("%s", (_, stat, expected) => {
    expect(startTimeOf(stat)).toBe(expected);
  });
});

test("missing capabilities are named", () => {
  expect(missingCapabilities("CapPrm:\t0\nCapEff:\t000001ffffffffff\nCapBnd:\t0\n")).toEqual([]);
  expect(missingCapabilities("CapEff:\t00000000a80425fb\n")).toEqual(["CAP_NET_ADMIN", "CAP_SYS_ADMIN"]);
});

describe("inParallel", () => {
  const { signal } = new AbortController();

  test("keeps the order of the items and the limit", async () => {
    let running = 0;
    let most = 0;
    const gates = [1, 2, 3, 4, 5].map((item) => ({ item, ...Promise.withResolvers<void>() }));
    const results = inParallel(gates, { limit: 2, signal }, async ({ item, promise }) => {
      most = Math.max(most, ++running);
      await promise;
      running--;
      return item * 10;
    });
    for (const { resolve } of gates.toReversed()) resolve();
    expect(await results).toEqual([10, 20, 30, 40, 50]);
    expect(most).toBe(2);
  });

  test("aborts the others at the first failure, waits for them, and throws it", async () => {
    const seen: string[] = [];
    const work = inParallel(["fails", "waits", "never starts"], { limit: 2, signal }, async (item, either) => {
      seen.push(item);
      if (item === "fails") throw new Error("first");
      const { promise, resolve } = Promise.withResolvers<void>();
      either.addEventListener("abort", () => resolve());
      await promise;
      seen.push("aborted");
      throw new Error("second");
    });
    await expect(work).rejects.toThrow("first");
    expect(seen).toEqual(["fails", "waits", "aborted"]);
  });

  test("throws the outer signal's reason", async () => {
    const outer = new AbortController();
    const work = inParallel([1], { signal: outer.signal }, async () => outer.abort(new Error("interrupted")));
    await expect(work).rejects.toThrow("interrupted");
  });
});
