import { afterAll, describe, expect, test } from "bun:test";
import { AGENT_OPTIONS, AgentClient, pathOf } from "../../src/cli/client.ts";
import { parseOptions } from "../../src/cli/options.ts";
import { TemporaryFolder } from "../support/temp.ts";

const folder = new TemporaryFolder();
const servers: Bun.Server<undefined>[] = [];
afterAll(async () => {
  await Promise.all(servers.map((server) => server.stop(true)));
  folder[Symbol.dispose]();
});

type Answer = (request: Request) => Response | Promise<Response>;

function onTcp(fetch: Answer): string {
  const server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch });
  servers.push(server);
  return `127.0.0.1:${server.port}`;
}

let sockets = 0;
function onSocket(fetch: Answer): string {
  const path = folder.at(`${sockets++}.sock`);
  servers.push(Bun.serve({ unix: path, fetch }));
  return path;
}

function client(places: { socket?: string; address?: string }, patience?: number): AgentClient {
  const args = Object.entries(places).map(([name, value]) => `--${name}=${value}`);
  return new AgentClient(parseOptions(AGENT_OPTIONS, args), patience);
}

const lease = (number: number) => ({
  ...{ key: `10.244.${number}.0-24`, node: `n${number}`, backendType: "vxlan", createdAt: null, expiresAt: null },
  ipv4: { subnet: `10.244.${number}.0/24`, publicIP: "192.0.2.1", vni: 1, vtepMAC: "02:00:00:00:00:01" },
});
const counts = { used: 5, rejected: 0, rejectedSinceStart: 0 };
const list = (items: unknown[], next: string | null, offset = 0) =>
  Response.json({ items, total: 5, offset, next, snapshotTakenAt: null, counts, rejected: [] });

describe("the agent", () => {
  test("is asked over its socket first, then at its address", async () => {
    const address = onTcp(() => Response.json({ at: "tcp" }));
    const socket = onSocket(() => Response.json({ at: "unix" }));
    expect(await client({ socket, address }).json("/x")).toEqual({ at: "unix" });
    const other = client({ socket: folder.at("none.sock"), address });
    expect(await other.json("/x")).toEqual({ at: "tcp" });
    expect(other.where).toBe(address);
  });

  test("that answers nowhere is away: each place is named, and why", async () => {
    const asked = client({ socket: folder.at("none.sock"), address: "127.0.0.1:1" }).json("/x");
    await expect(asked).rejects.toThrow(
      /^no agent answers at unix:\S+none.sock \(there is no such socket\) or 127.0.0.1:1 \(nothing listens there\)/,
    );
    await expect(asked).rejects.toMatchObject({ name: "AgentAwayError" });
  });

  test.each(["never", "half"])("that hangs is given up: it answers %s", async (how) => {
    const stuck: Answer = () =>
      how === "never"
        ? Promise.withResolvers<Response>().promise
        : new Response(
            new ReadableStream({ start: (controller) => controller.enqueue(new TextEncoder().encode("{")) }),
          );
    const asked = client({ socket: onSocket(stuck), address: onTcp(() => Response.json({})) }, 200).json("/x");
    await expect(asked).rejects.toThrow(/took the connection and did not answer \/x within 0.2 s: it hangs$/);
    await expect(asked).rejects.toMatchObject({ name: "AgentAwayError" });
  });

  test("is not asked by way of a proxy", async () => {
    const proxy = onTcp(() => new Response("from the proxy", { status: 502 }));
    const address = onTcp(() => Response.json({ at: "agent" }));
    const script = `
      import { AgentClient } from ${JSON.stringify(new URL("../../src/cli/client.ts", import.meta.url).pathname)};
      import { parseListenAddress } from ${JSON.stringify(new URL("../../src/config/listen-address.ts", import.meta.url).pathname)};
      const agent = new AgentClient({ socket: undefined, address: parseListenAddress("${address}") });
      console.log(JSON.stringify(await agent.json("/x")));`;
    const env = {
      PATH: process.env["PATH"] ?? "",
      HTTP_PROXY: `http://${proxy}`,
      http_proxy: `http://${proxy}`,
      NO_PROXY: "",
    };
    const child = Bun.spawn([process.execPath, "-e", script], { env, stdout: "pipe", stderr: "inherit" });
    expect(await child.stdout.text()).toBe('{"at":"agent"}\n');
  });

  test("refuses in its own words", async () => {
    const address = onTcp(() => Response.json({ error: "there is no peer x" }, { status: 404 }));
    await expect(client({ address }).get("peer", {}, "x")).rejects.toThrow(
      "the agent refuses GET /debug/peers/x: there is no peer x",
    );
    const plain = onTcp(() => new Response("<html>", { status: 500, statusText: "Oops" }));
    await expect(client({ address: plain }).json("/x")).rejects.toThrow("the agent refuses GET /x: 500");
  });

  test("may be something else that listens there, or of another version", async () => {
    const html = onTcp(() => new Response("<html>"));
    await expect(client({ address: html }).json("/x")).rejects.toThrow("is no agent: its answer to /x is no JSON");
    const older = onTcp(() => list([{ key: 5 }], null));
    await expect(client({ address: older }).list("leases")).rejects.toThrow(
      /about leases .*items\.0\.key.* use the executable that the agent runs/,
    );
  });
});

describe("a list", () => {
  test("is read whole, whatever its pages are", async () => {
    const asked: string[] = [];
    const address = onTcp((request) => {
      const { pathname, search, searchParams } = new URL(request.url);
      asked.push(pathname + search);
      const offset = Number(searchParams.get("offset") ?? 0);
      const items = [0, 1, 2, 3, 4].slice(offset, offset + 2).map(lease);
      return list(items, offset + 2 < 5 ? `/debug/leases?family=ipv4&limit=2&offset=${offset + 2}` : null, offset);
    });
    const { items, next } = await client({ address }).list("leases", { family: "ipv4" });
    expect(items.map(({ key }) => key)).toEqual([0, 1, 2, 3, 4].map((number) => lease(number).key));
    expect(next).toBeNull();
    expect(asked).toHaveLength(3);
    expect(asked[0]).toBe("/debug/leases?limit=10000&family=ipv4");
  });

  test("ends, also where its pages do not", async () => {
    const address = onTcp(() => list([], "/debug/leases?offset=0"));
    expect((await client({ address }).list("leases")).items).toEqual([]);
  });
});

test("a node's name in a path is one part of it", () => {
  expect(pathOf("peer", { family: undefined }, "10.1.0.0-24&fd00::-64/x")).toBe(
    "/debug/peers/10.1.0.0-24%26fd00%3A%3A-64%2Fx",
  );
});
