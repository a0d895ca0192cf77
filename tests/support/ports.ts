import { readFileSync } from "node:fs";

/** From where ports are taken: the numbers have five digits, so that none is the beginning of another. */
const LOWEST = 10_000;

/**
 * Ports of 127.0.0.1 that nobody has at this moment, for servers that have to be told theirs. They lie below those that the
 * kernel gives to connections, of which one could otherwise take a port before the server does, or while it is down.
 */
export function freePorts(count: number): number[] {
  const [first = "32768"] = readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "utf8").split(/\s+/);
  const highest = Number(first) > 2 * LOWEST ? Number(first) : 32_768;
  const socket = { data() {} };
  const listeners: Bun.TCPSocketListener[] = [];
  while (listeners.length < count) {
    const port = LOWEST + Math.floor(Math.random() * (highest - LOWEST));
    try {
      listeners.push(Bun.listen({ hostname: "127.0.0.1", port, socket }));
    } catch {
      // Somebody has this one.
    }
  }
  const ports = listeners.map(({ port }) => port);
  for (const listener of listeners) listener.stop(true);
  return ports;
}
