import { beforeAll, describe, expect, test } from "bun:test";
import { cpSync } from "node:fs";
import { sleep } from "../../src/base/backoff.ts";
import { Secret } from "../../src/base/secret.ts";
import { Authority, type Certificate } from "../../src/cli/lab/servers/certificates.ts";
import { type EtcdOptions, openEtcd } from "../../src/lease/etcd.ts";
import { describeWithEtcd, type EtcdServer, useEtcd } from "../support/etcd.ts";
import { useTemporaryFolder } from "../support/temp.ts";
import { eventually } from "../support/wait.ts";
import { Follower } from "./follower.ts";
import { NETWORK, requestOf } from "./samples.ts";

const never = new AbortController().signal;
const PREFIX = "/coreos.com/network";

/** What an attempt to take a lease ends with, and what the source says of its contact then. */
async function attempt(
  options: Omit<EtcdOptions, "prefix">,
): Promise<{ message: string; contact: string | undefined }> {
  const source = openEtcd({ prefix: PREFIX, ...options });
  try {
    await source.acquire(requestOf(1), NETWORK, never);
    return { message: "", contact: source.contact.error?.message };
  } catch (error) {
    return { message: error instanceof Error ? error.message : "", contact: source.contact.error?.message };
  } finally {
    source.close();
  }
}

describeWithEtcd("etcd over TLS", () => {
  const folder = useTemporaryFolder();
  const etcd = useEtcd();
  let good: Authority;
  let evil: Authority;
  let server: EtcdServer;
  let client: Certificate;

  beforeAll(async () => {
    good = await Authority.create(folder.path, "good-authority");
    evil = await Authority.create(folder.path, "evil-authority");
    const certificate = await good.issue("server", ["IP:127.0.0.1", "DNS:localhost"]);
    client = await good.issue("client");
    server = await etcd.start({ certificate, clientCa: good.ca });
  });

  const tls = (changes: EtcdOptions["tls"] = {}) => ({
    endpoints: [server.endpoint],
    tls: { caFile: good.ca, certFile: client.cert, keyFile: client.key, ...changes },
  });

  test("with the authority and a client certificate: leases are taken and followed", async () => {
    const source = openEtcd({ prefix: PREFIX, ...tls(), heartbeatMs: 200 });
    await using follower = new Follower(source);
    const { key } = await source.acquire(requestOf(1), NETWORK, never);
    await follower.untilKeys([key]);
    // The stream still carries what happens after it was asked for signs of life.
    const before = source.contact.lastContactAt ?? 0;
    await eventually(() => (source.contact.lastContactAt ?? 0) > before + 400, { within: 5000, what: "signs of life" });
    await server.ctl(["del", "--prefix", `${PREFIX}/subnets/`]);
    await follower.untilKeys([]);
    source.close();
  });

  test("an unknown authority is refused, and named", async () => {
    const { message, contact } = await attempt(tls({ caFile: evil.ca }));
    expect(message).toContain(server.endpoint);
    expect(message).toContain('"good-authority"');
    expect(message).toContain(`${evil.ca} (--etcd-cafile)`);
    expect(contact).toBe(message);
  });

  test("no authority given: the system's do not know it either", async () => {
    const { message } = await attempt({ endpoints: [server.endpoint] });
    expect(message).toContain(
      'the unknown authority "good-authority"; give that authority\'s certificate with --etcd-cafile',
    );
  });

  test("no client certificate, or another authority's: the handshake fails, with a hint", async () => {
    const other = await evil.issue("client");
    for (const options of [
      { endpoints: [server.endpoint], tls: { caFile: good.ca } },
      tls({ certFile: other.cert, keyFile: other.key }),
    ]) {
      expect((await attempt(options)).message).toContain("valid one (--etcd-certfile, --etcd-keyfile)");
    }
  });

  test("a certificate for another host is refused", async () => {
    const { cert, key } = await good.issue("elsewhere", ["DNS:elsewhere.example"]);
    using web = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      tls: { cert: Bun.file(cert), key: Bun.file(key) },
      fetch: () => new Response("{}"),
    });
    const { message } = await attempt({ ...tls(), endpoints: [`https://127.0.0.1:${web.port}`] });
    expect(message).toContain("its certificate is for another host");
  });

  test("http where TLS is spoken: told", async () => {
    const { message } = await attempt({ endpoints: [server.endpoint.replace("https:", "http:")] });
    expect(message).toContain("whether it is https");
  });

  test("files that are missing, no PEM, or of two minds are named", async () => {
    const notPem = folder.at("not.pem");
    await Bun.write(notPem, "hello");
    const other = await good.issue("other");
    expect((await attempt(tls({ caFile: "/absent/ca.pem" }))).message).toContain("--etcd-cafile: /absent/ca.pem");
    expect((await attempt(tls({ certFile: notPem }))).message).toContain(`--etcd-certfile: ${notPem}`);
    expect((await attempt(tls({ keyFile: notPem }))).message).toContain(`--etcd-keyfile: ${notPem}`);
    const { message } = await attempt(tls({ keyFile: other.key }));
    expect(message).toContain(`${other.key} (--etcd-keyfile) is not that of the certificate in ${client.cert}`);
  });

  test("files that are replaced count from then on", async () => {
    const caFile = folder.at("rotated.pem");
    cpSync(evil.ca, caFile);
    const source = openEtcd({ prefix: PREFIX, ...tls({ caFile }) });
    await using follower = new Follower(source);
    await eventually(() => source.contact.error, { within: 5000, what: "it is refused" });
    cpSync(good.ca, caFile);
    await follower.untilKeys([]);
    expect(source.contact.error).toBeUndefined();
    source.close();
  });
});

describeWithEtcd("etcd with users", () => {
  const etcd = useEtcd();
  let server: EtcdServer;
  const secret = (text: string) => new Secret(text);
  const flannel = { username: "flannel", password: secret("open sesame") };

  beforeAll(async () => {
    server = await etcd.start({ args: ["--auth-token-ttl=1"] });
    for (const command of [
      "user add root:root",
      "role add flannel",
      `role grant-permission flannel readwrite --prefix=true ${PREFIX}`,
      "user add flannel:open\u0000sesame",
      "user grant-role flannel flannel",
      "user add poor:poor",
    ]) {
      await server.ctl(command.split(" ").map((word) => word.replace("\0", " ")));
    }
  });

  const tokenOf = async (name: string, password: string): Promise<string> =>
    String((await server.post("auth/authenticate", { name, password }))["token"]);
  const clear = async () => {
    const token = await tokenOf("root", "root");
    const range = { key: Buffer.from(PREFIX).toString("base64"), range_end: "AA==" };
    await server.post("kv/deleterange", range, { authorization: token });
  };

  test("a user is of no use, and does no harm, while users are off; they can be turned on meanwhile", async () => {
    const source = openEtcd({ prefix: PREFIX, endpoints: [server.endpoint], ...flannel });
    await using follower = new Follower(source);
    const lease = await source.acquire(requestOf(1), NETWORK, never);
    await follower.untilKeys([lease.key]);
    await server.ctl(["auth", "enable"]);
    expect(await source.renew(lease, never)).toMatchObject({ key: lease.key });
    source.close();
  });

  test("a token that ran out is replaced", async () => {
    await clear();
    const witness = await tokenOf("flannel", "open sesame");
    const source = openEtcd({ prefix: PREFIX, endpoints: [server.endpoint], ...flannel });
    const lease = await source.acquire(requestOf(1), NETWORK, never);
    // Asking whether it has run out would give a token a new life.
    await sleep(3000);
    const asWitness = server.post("kv/range", { key: "AA==" }, { authorization: witness });
    await expect(asWitness).rejects.toThrow("invalid auth token");
    expect(await source.renew(lease, never)).toMatchObject({ key: lease.key });
    expect(source.contact.error).toBeUndefined();
    source.close();
  });

  test("a server that forgot all tokens: the watch goes on", async () => {
    await clear();
    const source = openEtcd({ prefix: PREFIX, endpoints: [server.endpoint], ...flannel });
    await using follower = new Follower(source);
    await follower.untilKeys([]);
    await server.signal("SIGKILL");
    await server.restart();
    const other = openEtcd({ prefix: PREFIX, endpoints: [server.endpoint], ...flannel });
    const { key } = await other.acquire(requestOf(2), NETWORK, never);
    await follower.untilKeys([key]);
    expect(source.contact.error).toBeUndefined();
    for (const each of [source, other]) each.close();
  });

  describe("refused", () => {
    test.each([
      ["no user", {}, "give --etcd-username and --etcd-password"],
      ["a wrong password", { ...flannel, password: secret("s3cret") }, "check --etcd-username and --etcd-password"],
      ["no permission", { username: "poor", password: secret("poor") }, "permission denied; grant etcd's user"],
    ])("%s: taking a lease says so, and so does the watch", async (_, user, says) => {
      const { message, contact } = await attempt({ endpoints: [server.endpoint], ...user });
      expect(message).toContain(says);
      expect(message).toContain(server.endpoint);
      expect(message).not.toContain("s3cret");
      expect(contact).toBe(message);
      const source = openEtcd({ prefix: PREFIX, endpoints: [server.endpoint], ...user });
      await using follower = new Follower(source);
      const error = await eventually(() => source.contact.error, { within: 5000, what: "the watch fails" });
      expect(error.message).toContain(says);
      expect(follower.count).toBe(0);
      source.close();
    });
  });
});

describe("what is no etcd", () => {
  test.each([
    ["a web server", () => new Response("<html>"), "it answers, but not as etcd does"],
    ["one without that page", () => new Response("no such page", { status: 404 }), "HTTP 404"],
    ["one that leads elsewhere", () => Response.redirect("http://192.0.2.1/"), "edirect"],
  ])("%s: told", async (_, answer, says) => {
    using web = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: answer });
    const { message } = await attempt({ endpoints: [`http://127.0.0.1:${web.port}`] });
    expect(message).toContain(`etcd http://127.0.0.1:${web.port}: kv/range: `);
    expect(message).toContain(says);
  });

  test("all endpoints are named, each with its cause", async () => {
    using web = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response("", { status: 500 }) });
    const { message } = await attempt({ endpoints: ["http://127.0.0.1:1", `http://127.0.0.1:${web.port}`] });
    expect(message).toStartWith("no etcd endpoint answers: etcd http://127.0.0.1:1: kv/range: connection refused");
    expect(message).toContain("HTTP 500");
  });

  test("silence is given up on", async () => {
    using web = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Promise<Response>(() => {}) });
    const { message } = await attempt({ endpoints: [`http://127.0.0.1:${web.port}`], requestMs: 200 });
    expect(message).toBe(`etcd http://127.0.0.1:${web.port}: no answer within 0.2 s; see that it is healthy`);
  });
});
