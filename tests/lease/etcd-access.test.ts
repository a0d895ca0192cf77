import { beforeAll, describe, expect, test } from "bun:test";
import { createPrivateKey } from "node:crypto";
import { cpSync } from "node:fs";
import { sleep } from "../../src/base/backoff.ts";
import { Secret } from "../../src/base/secret.ts";
import { Authority, type Certificate } from "../../src/cli/lab/servers/certificates.ts";
import { type EtcdOptions, openEtcd } from "../../src/lease/etcd.ts";
import { base64, describeWithEtcd, type EtcdServer, useEtcd } from "../support/etcd.ts";
import { Netns } from "../support/netns.ts";
import { describeInNamespaces } from "../support/requires.ts";
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
    await eventually(() => (source.contact.lastContactAt ?? 0) > before + 400, {
      within: 20_000,
      what: "signs of life",
    });
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

  test("certificates and keys that are damaged, encrypted or mixed up are told apart", async () => {
    const file = async (name: string, text: string) => {
      await Bun.write(folder.at(name), text);
      return folder.at(name);
    };
    const [ca, key] = await Promise.all([good.ca, client.key].map((path) => Bun.file(path).text()));
    const damaged = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    const halfGood = await file("half-good.pem", `${ca}${damaged}`);
    const cut = await file("cut.pem", `${ca}-----BEGIN CERTIFICATE-----\nMIIB\n`);
    const locked = createPrivateKey(`${key}`).export({
      ...{ type: "pkcs8", format: "pem", cipher: "aes-128-cbc" },
      passphrase: "s3cret",
    });
    const encrypted = await file("encrypted.pem", `${locked}`);
    const badKey = await file("bad-key.pem", "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n");
    for (const [files, says] of [
      [{ caFile: halfGood }, `--etcd-cafile: ${halfGood} is of no use: certificate 2 of 2 in it is damaged; copy it`],
      [{ caFile: cut }, `--etcd-cafile: ${cut} is of no use: a certificate in it has no end`],
      [{ certFile: client.key }, "there is no certificate in it, only -----BEGIN"],
      [{ keyFile: client.cert }, "there is no private key in it, only -----BEGIN CERTIFICATE-----; name the file"],
      [
        { keyFile: encrypted },
        `--etcd-keyfile: ${encrypted} is of no use: the key in it is encrypted; give one without`,
      ],
      [{ keyFile: badKey }, `--etcd-keyfile: ${badKey} is of no use: it is damaged; copy it there anew`],
    ] as const) {
      const { message, contact } = await attempt(tls(files));
      expect(message).toContain(says);
      expect(contact).toBe(message);
    }
  });

  test("files that are replaced count from then on", async () => {
    const caFile = folder.at("rotated.pem");
    cpSync(evil.ca, caFile);
    const source = openEtcd({ prefix: PREFIX, ...tls({ caFile }) });
    await using follower = new Follower(source);
    await eventually(() => source.contact.error, { within: 20_000, what: "it is refused" });
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
  const clear = () =>
    eventually(
      async () => {
        const token = await tokenOf("root", "root");
        const range = { key: base64(PREFIX), range_end: "AA==" };
        return server.post("kv/deleterange", range, { authorization: token });
      },
      { within: 20_000, what: "all is deleted before the token has run out" },
    );

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
    const source = openEtcd({ prefix: PREFIX, endpoints: [server.endpoint], ...flannel });
    const lease = await source.acquire(requestOf(1), NETWORK, never);
    // Later ones. Asking whether it has run out would give a token a new life, so that each is asked for once.
    const witnesses = await Promise.all(Array.from({ length: 10 }, () => tokenOf("flannel", "open sesame")));
    const range = { key: base64(`${PREFIX}/config`) };
    let isKnown = true;
    for (let witness = witnesses.pop(); isKnown; witness = witnesses.pop()) {
      if (witness === undefined) throw new Error("no token runs out");
      await sleep(2000);
      const asked = server.post("kv/range", range, { authorization: witness });
      isKnown = await asked.then(
        () => true,
        (error: unknown) => {
          expect(String(error)).toContain("invalid auth token");
          return false;
        },
      );
    }
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
      const error = await eventually(() => source.contact.error, { within: 20_000, what: "the watch fails" });
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

/** What an attempt in a process of its own says, of which the environment and the namespace may be others. */
async function attemptElsewhere(
  endpoint: string,
  { environment = {}, ns }: { environment?: Record<string, string>; ns?: Netns } = {},
): Promise<string> {
  const [etcd, errors] = ["lease/etcd", "base/errors"].map((name) => import.meta.resolve(`../../src/${name}.ts`));
  const script = `
    const { openEtcd } = await import("${etcd}");
    const { describeError } = await import("${errors}");
    const source = openEtcd({ prefix: "/x", endpoints: ["${endpoint}"] });
    const asked = source.settings(new AbortController().signal);
    console.log(await asked.then(() => "answered", describeError));`;
  const command = [process.execPath, "-e", script];
  // Whatever proxies, and exemptions from them, the tests' own environment has.
  const rest = Object.entries(process.env).filter(([name]) => !/_proxy$/i.test(name));
  const options = { env: { ...Object.fromEntries(rest), ...environment }, stdout: "pipe", stderr: "inherit" } as const;
  const child = ns === undefined ? Bun.spawn(command, options) : ns.spawn(command, options);
  return (await new Response(child.stdout).text()).trim();
}

describe("a proxy of the environment", () => {
  test("that is down is named, without its password", async () => {
    const environment = { HTTP_PROXY: "http://somebody:s3cret@127.0.0.1:9", HTTPS_PROXY: "127.0.0.1:9" };
    for (const [scheme, name] of [
      ["http", "HTTP_PROXY"],
      ["https", "HTTPS_PROXY"],
    ]) {
      expect(await attemptElsewhere(`${scheme}://192.0.2.1:2379`, { environment })).toBe(
        `etcd ${scheme}://192.0.2.1:2379: kv/range: the proxy 127.0.0.1:9 (${name}) can't be reached (ECONNREFUSED); ` +
          `see that it runs, or correct ${name}`,
      );
    }
    const exempt = { ...environment, NO_PROXY: "elsewhere.example,127.0.0.1" };
    expect(await attemptElsewhere("http://127.0.0.1:1", { environment: exempt })).toContain("see that etcd listens");
  });

  test("that lets nothing through is named", async () => {
    using web = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response("", { status: 403 }) });
    const host = `127.0.0.1:${web.port}`;
    const environment = { http_proxy: `http://${host}`, https_proxy: `http://${host}` };
    expect(await attemptElsewhere("http://192.0.2.1:2379", { environment })).toContain(
      `HTTP 403, not etcd's JSON API for version 3; correct --etcd-endpoints, or http_proxy, by whose proxy ${host} it`,
    );
    expect(await attemptElsewhere("https://192.0.2.1:2379", { environment })).toContain(
      `the proxy ${host} (https_proxy) does not let it through`,
    );
  });
});

test("a connection that is closed: what to look at, and nothing of what Bun advises programmers", async () => {
  using server = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      data(socket) {
        socket.terminate();
      },
    },
  });
  const endpoint = `http://127.0.0.1:${server.port}`;
  expect(await attemptElsewhere(endpoint)).toBe(
    `etcd ${endpoint}: kv/range: the connection was closed without an answer; check in --etcd-endpoints the port, and ` +
      "whether it is https (ECONNRESET)",
  );
});

describeInNamespaces("an etcd to which no packet gets", () => {
  test("no route, a forbidden one, nobody at the address: the endpoint, the cause and what to do", async () => {
    using ns = new Netns();
    const noRoute = (endpoint: string, code: string) =>
      `etcd ${endpoint}: kv/range: there is no route to it; see to this host's routes and firewall, or correct ` +
      `--etcd-endpoints (${code})`;
    const says = (endpoint: string) => attemptElsewhere(endpoint, { ns });
    for (const endpoint of ["http://192.0.2.1:2379", "https://[2001:db8::1]:2379"])
      expect(await says(endpoint)).toBe(noRoute(endpoint, "ENETUNREACH"));
    await ns.exec(["ip", "link", "set", "lo", "up"]);
    for (const [kind, code] of [
      ["blackhole", "EINVAL"],
      ["prohibit", "EACCES"],
    ] as const) {
      await ns.exec(["ip", "route", "replace", kind, "192.0.2.1"]);
      expect(await says("http://192.0.2.1:2379")).toBe(noRoute("http://192.0.2.1:2379", code));
    }
    await ns.exec(["ip", "route", "replace", "unreachable", "192.0.2.1"]);
    expect(await says("http://192.0.2.1:2379")).toBe(
      "etcd http://192.0.2.1:2379: kv/range: nobody answers at that address; see that its host runs, and to routes and " +
        "firewalls on the way (EHOSTUNREACH)",
    );
  });
});
