import { expect, test } from "bun:test";
import { IcmpSocket, realTime } from "../../src/ffi/icmp-socket.ts";
import { inNetworkNamespace } from "../../src/ffi/libc.ts";
import type { Family } from "../../src/net/family.ts";
import { answeredNumber, messageBytes, SMALL_BYTES, writeRequest } from "../../src/probe/echo.ts";
import { address } from "../lease/samples.ts";
import { Netns } from "../support/netns.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { eventually } from "../support/wait.ts";

const LOOPBACK: Readonly<Record<Family, string>> = { 4: "127.0.0.1", 6: "::1" };
const MARK = { identifier: 0x1234, cookie: 0xfeedbeef };

describeInNamespaces("a raw ICMP socket", () => {
  test.each<[Family]>([[4], [6]])(
    "IPv%d: gets the answers that carry its mark, with the time at which they came",
    async (family) => {
      using ns = new Netns();
      const self = address(LOOPBACK[family]);
      const open = (mark: typeof MARK) => inNetworkNamespace(ns.path, () => new IcmpSocket(family, self, mark));
      using socket = open(MARK);
      using otherIdentifier = open({ ...MARK, identifier: 0x1235 });
      using otherCookie = open({ ...MARK, cookie: 0xfeedbeee });
      const request = new Uint8Array(SMALL_BYTES);
      const numbers: (number | undefined)[] = [];
      let before = realTime();
      await eventually(
        () => {
          writeRequest(request, family, MARK, 7);
          before = realTime();
          socket.send(request, self);
          for (const message of socket.messages()) {
            numbers.push(answeredNumber(message, family, MARK));
            // By the loopback the answer is there before the call has returned.
            expect(socket.timeOfLast()).toBeGreaterThanOrEqual(before - 1_000);
            expect(socket.timeOfLast()).toBeLessThanOrEqual(realTime());
          }
          return numbers.length > 0;
        },
        { within: 20_000, what: "there is an answer" },
      );
      expect(new Set(numbers)).toEqual(new Set([7]));
      expect([...otherIdentifier.messages()]).toEqual([]);
      expect([...otherCookie.messages()]).toEqual([]);
    },
  );

  test.each<[Family]>([[4], [6]])(
    "IPv%d: a packet that is larger than the interface's MTU is refused, not cut",
    async (family) => {
      using ns = new Netns();
      await ns.exec(["ip", "link", "set", "lo", "mtu", "1400"]);
      const self = address(LOOPBACK[family]);
      using socket = inNetworkNamespace(ns.path, () => new IcmpSocket(family, self, MARK));
      const message = new Uint8Array(messageBytes(family, 1401));
      writeRequest(message, family, MARK, 1);
      expect(() => socket.send(message, self)).toThrow(`send an echo request to ${self}: EMSGSIZE`);
      writeRequest(message, family, MARK, 2);
      socket.send(message.subarray(0, messageBytes(family, 1400)), self);
    },
  );

  test("an address that the host has not is refused by name", () => {
    using ns = new Netns();
    const open = () => inNetworkNamespace(ns.path, () => new IcmpSocket(4, address("192.0.2.1"), MARK));
    expect(open).toThrow("bind to 192.0.2.1: EADDRNOTAVAIL");
  });
});
