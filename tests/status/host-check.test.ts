import { expect, test } from "bun:test";
import { hostname, networkInterfaces } from "node:os";
import { parseListenAddress, type TcpAddress } from "../../src/config/listen-address.ts";
import { isOwnHost } from "../../src/status/host-check.ts";
import { ask, facts } from "./facts.ts";

function tcp(text: string): TcpAddress {
  const address = parseListenAddress(text);
  if (address?.kind !== "tcp") throw new Error(`${text} is no TCP address`);
  return address;
}

const LOCAL = "127.0.0.1:8285";
const [own] = Object.values(networkInterfaces()).flatMap((list) => list?.map(({ address }) => address) ?? []);

test.each([
  [undefined, LOCAL, true],
  ["", LOCAL, true],
  ["localhost", LOCAL, true],
  ["LOCALHOST.:8285", LOCAL, true],
  ["127.0.0.1:8285", LOCAL, true],
  ["127.9.9.9", LOCAL, true],
  ["[::1]:8285", LOCAL, true],
  ["evil.example", LOCAL, false],
  ["localhost.evil.example", LOCAL, false],
  ["127.0.0.1.evil.example", LOCAL, false],
  ["192.0.2.7", LOCAL, false],
  ["evil.example@localhost", LOCAL, false],
  ["[::1", LOCAL, false],
  // Where the host has no name of its own, it is called so.
  [hostname(), LOCAL, hostname() === "localhost"],
  ["192.0.2.7:80", "192.0.2.7:80", true],
  ["192.0.2.8:80", "192.0.2.7:80", false],
  ["[2001:DB8::7]:80", "[2001:db8::7]:80", true],
  ["node.example:1", "node.example:80", true],
  [own, "0.0.0.0:80", true],
  [hostname(), "0.0.0.0:80", true],
  ["n1", "[::]:80", true],
  ["192.0.2.99", "0.0.0.0:80", false],
  ["evil.example", "[::]:80", false],
] as const)("Host: %s at %s: %s", (header, listening, expected) => {
  expect(isOwnHost(header, tcp(listening), ["n1"])).toBe(expected);
});

test("another host's name is refused over TCP, and no matter at a socket", async () => {
  const init = { headers: { host: "evil.example" } };
  const refused = await ask(facts(), "/debug/state", init, { address: tcp(LOCAL) });
  expect(refused.status).toBe(421);
  expect(refused.body).toEqual({ error: expect.stringContaining("evil.example is no name of this host") });
  expect((await ask(facts(), "/debug/state", init)).status).toBe(200);
});
