import { afterAll, beforeAll, expect, test } from "bun:test";
import { RESOURCES } from "../../src/api/resources.ts";
import { TestAgent } from "../support/agent.ts";
import { Netns } from "../support/netns.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { useTemporaryFolder } from "../support/temp.ts";
import { eventually } from "../support/wait.ts";

/** What nobody may ever see again, each of another kind. */
const SECRETS = {
  password: "pw-Zx81-open-sesame",
  key: "key-Qv47-of-the-client",
  token: "token-Lk92-of-the-account",
  urlPassword: "url-Hb35-password",
};

const PEM = `-----BEGIN PRIVATE KEY-----\n${btoa(SECRETS.key)}\n-----END PRIVATE KEY-----\n`;

/** Each as it is, and as it goes over the wire. */
const FORMS = Object.values(SECRETS).flatMap((secret) => [secret, btoa(secret), btoa(secret).slice(0, -4)]);

const PATHS = [...Object.values(RESOURCES).map(({ path }) => path.replace(":node", "n2")), "/readyz", "/openapi.json"];

describeInNamespaces("secrets", () => {
  const folder = useTemporaryFolder();
  const ns = new Netns();
  const agents: TestAgent[] = [];

  beforeAll(async () => {
    await ns.exec(["ip", "link", "add", "eth0", "type", "bridge"]);
    await ns.exec(["ip", "addr", "add", "192.0.2.1/24", "dev", "eth0"]);
    await ns.exec(["ip", "link", "set", "eth0", "up"]);
    await ns.exec(["ip", "link", "set", "lo", "up"]);
    await Bun.write(folder.at("key.pem"), PEM);
    await Bun.write(folder.at("cert.pem"), PEM);
    await Bun.write(folder.at("net-conf.json"), '{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}');
    const user = { token: SECRETS.token, "client-key-data": btoa(PEM), password: SECRETS.password, username: "me" };
    await Bun.write(
      folder.at("kubeconfig"),
      JSON.stringify({
        "current-context": "c",
        contexts: [{ name: "c", context: { cluster: "c", user: "u" } }],
        clusters: [{ name: "c", cluster: { server: `http://me:${SECRETS.urlPassword}@127.0.0.1:1` } }],
        users: [{ name: "u", user }],
      }),
    );
  });

  afterAll(async () => {
    for (const agent of agents) if (agent.exitCode === null) await agent.stop("SIGKILL");
    ns[Symbol.dispose]();
  });

  /** All that an agent tells of itself, at the level at which it says the most, once it has tried its lease source. */
  async function toldBy(
    name: string,
    leases: readonly string[],
    environment: Readonly<Record<string, string>>,
  ): Promise<string> {
    const agent = new TestAgent({
      ...{ ns, name, folder: folder.path, store: "", netConf: folder.at("net-conf.json") },
      leases: [...leases, `--net-config-path=${folder.at("net-conf.json")}`, "--healthz-port=0", "-v=9"],
      environment,
    });
    agents.push(agent);
    agent.spawn();
    const isTried = async () => agent.exitCode !== null || (await agent.readiness()).reasons.length > 0;
    await eventually(isTried, { within: 15_000, what: "it says why it is not ready, or that it can't start" });
    if (agent.exitCode !== null) return agent.log;
    await eventually(() => /WARNING|ERROR/.test(agent.log), { within: 15_000, what: "its log says so, too" });
    const answers = await Promise.all(PATHS.map(async (path) => (await agent.fetch(path)).text()));
    const config = answers[PATHS.indexOf("/debug/config")] ?? "";
    await agent.stop();
    return [...answers, config, agent.log].join("\n");
  }

  function expectNone(told: string): void {
    expect(FORMS.filter((form) => told.includes(form))).toEqual([]);
  }

  test("of etcd: the password on the command line and in the environment, and the client's key", async () => {
    const etcd = ["--etcd-endpoints=https://127.0.0.1:1", "--etcd-username=me"];
    const tls = [`--etcd-keyfile=${folder.at("key.pem")}`, `--etcd-certfile=${folder.at("cert.pem")}`];
    const told = await toldBy("flag", [...etcd, `--etcd-password=${SECRETS.password}`], {});
    expect(told).toContain('"password":"[secret]"');
    expectNone(told);
    const other = await toldBy("env", [...etcd, ...tls], { FLANNELD_ETCD_PASSWORD: SECRETS.password });
    expect(other).toContain("key.pem");
    expectNone(other);
  });

  test("of etcd: a password in its address, which is refused", async () => {
    const told = await toldBy("address", [`--etcd-endpoints=http://me:${SECRETS.urlPassword}@127.0.0.1:1`], {});
    expect(told).toContain("--etcd-endpoints");
    expectNone(told);
  });

  test("of Kubernetes: what a kubeconfig holds, and a password in the server's URL", async () => {
    const told = await toldBy("kube", ["--kube-subnet-mgr", `--kubeconfig-file=${folder.at("kubeconfig")}`], {});
    expect(told).toContain("kubeconfig");
    expectNone(told);
    const url = `--kube-api-url=http://me:${SECRETS.urlPassword}@127.0.0.1:1`;
    const file = `--kubeconfig-file=${folder.at("kubeconfig")}`;
    const other = await toldBy("url", ["--kube-subnet-mgr", url, file], {});
    expect(other).toContain("127.0.0.1:1");
    expectNone(other);
  });
});
