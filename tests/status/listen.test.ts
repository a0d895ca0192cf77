import { expect, test } from "bun:test";
import { mkdirSync, readdirSync, renameSync, statSync } from "node:fs";
import { connect } from "node:net";
import { listen } from "../../src/status/listen.ts";
import { TemporaryFolder } from "../support/temp.ts";
import { eventually } from "../support/wait.ts";

test("a socket for its owner alone never had another mode, nor has its directory, which is made", async () => {
  using folder = new TemporaryFolder();
  const path = folder.at("new/debug.sock");
  const modes = new Set<number>();
  const before = process.umask(0);
  const listener = listen({ kind: "unix", path }, () => new Response("here"), "--debug-socket", "owner");
  try {
    await eventually(
      async () => {
        const found = statSync(path, { throwIfNoEntry: false });
        if (found !== undefined) modes.add(found.mode & 0o777);
        return found !== undefined && (await fetch("http://x/", { unix: path })).ok;
      },
      { within: 10_000, what: "it answers" },
    );
    expect(process.umask()).toBe(0);
    expect([...modes]).toEqual([0o600]);
    expect(statSync(folder.at("new")).mode & 0o777).toBe(0o700);
    expect(readdirSync(folder.at("new"))).toEqual(["debug.sock"]);
  } finally {
    process.umask(before);
    await listener.stop();
  }
  expect(statSync(path, { throwIfNoEntry: false })).toBeUndefined();
});

test("a socket at which somebody answers is not taken away, but taken over once that one is gone", async () => {
  using folder = new TemporaryFolder();
  const address = { kind: "unix", path: folder.at("debug.sock") } as const;
  const ask = async () => (await fetch("http://x/", { unix: address.path })).text();
  const first = listen(address, () => new Response("first"), "--debug-socket", "owner");
  await eventually(async () => (await ask()) === "first", { within: 10_000, what: "the first one answers" });
  const second = listen(address, () => new Response("second"), "--debug-socket", "owner");
  const third = listen(address, () => new Response("third"), "--debug-socket", "owner");
  await third.stop();
  expect(await ask()).toBe("first");
  await first.stop();
  await eventually(async () => (await ask()) === "second", { within: 10_000, what: "the second one answers" });
  await second.stop();
  expect(statSync(address.path, { throwIfNoEntry: false })).toBeUndefined();
});

test("who ends leaves a socket alone that is not its own any more", async () => {
  using folder = new TemporaryFolder();
  const path = folder.at("debug.sock");
  const listener = listen({ kind: "unix", path }, () => new Response("here"), "--debug-socket", "owner");
  await eventually(async () => (await fetch("http://x/", { unix: path })).ok, { within: 10_000, what: "it answers" });
  mkdirSync(folder.at("other"));
  const other = listen(
    { kind: "unix", path: folder.at("other/x.sock") },
    () => new Response("other"),
    "--debug-socket",
  );
  await eventually(async () => (await fetch("http://x/", { unix: folder.at("other/x.sock") })).ok, {
    within: 10_000,
    what: "the other one answers",
  });
  renameSync(folder.at("other/x.sock"), path);
  await listener.stop();
  expect(await (await fetch("http://x/", { unix: path })).text()).toBe("other");
  await other.stop();
});

/** Writes a request as it stands, and reads until the other side closes. */
function rawRequest(socket: string, text: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  let answer = "";
  const connection = connect(socket, () => connection.write(text));
  connection.on("data", (data) => {
    answer += data.toString();
  });
  connection.on("close", () => resolve(answer));
  connection.on("error", reject);
  return promise;
}

test("what can't be read, is too large or goes wrong is answered in JSON, and tells nothing of the program", async () => {
  using folder = new TemporaryFolder();
  const address = { kind: "unix", path: folder.at("debug.sock") } as const;
  const listener = listen(
    address,
    async (request) => {
      if (request.url.endsWith("/wrong")) throw new Error("it knows a secret");
      return new Response(await request.text());
    },
    "--debug-socket",
    "owner",
  );
  try {
    await eventually(async () => (await fetch("http://x/", { unix: address.path })).ok, {
      within: 10_000,
      what: "it answers",
    });
    for (const [line, host, status] of [
      ["GET / HTTP/1.1", "127.0.0.1:99999", 400],
      ["GET / HTTP/1.1", "[fe80::1%25eth0]", 400],
      ["GET //a:b:c/ HTTP/1.0", undefined, 400],
      ["GET /wrong HTTP/1.1", "localhost", 500],
    ] as const) {
      const header = host === undefined ? "" : `Host: ${host}\r\n`;
      const answer = await rawRequest(address.path, `${line}\r\n${header}Connection: close\r\n\r\n`);
      expect(answer).toStartWith(`HTTP/1.1 ${status} `);
      expect(JSON.parse(answer.slice(answer.indexOf("\r\n\r\n")))).toEqual({ error: expect.any(String) });
      expect(answer).not.toContain("secret");
    }
    const large = await fetch("http://x/", { unix: address.path, method: "POST", body: "a".repeat(100_000) });
    expect(large.status).toBe(413);
  } finally {
    await listener.stop();
  }
});
