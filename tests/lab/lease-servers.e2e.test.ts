import { afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync } from "node:fs";
import { findKubeConfig } from "../../src/lease/kube-config.ts";
import { CHECKOUT, describeWithEtcd } from "../support/etcd.ts";
import { executable } from "../support/executable.ts";
import { describeWithKubernetes } from "../support/kube-binaries.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { TemporaryFolder } from "../support/temp.ts";
import { eventually } from "../support/wait.ts";
import { agentOf, completeLab, endLabs, processesOf, startLab, startLabIn, tracesOf } from "./running-lab.ts";

/** Kubernetes takes its time to start, more so on a machine with other work. */
const KUBE_MS = 180_000;
setDefaultTimeout(120_000);

async function shell(command: string): Promise<{ code: number; output: string }> {
  const child = Bun.spawn(["sh", "-c", command], { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { code, output: stdout + stderr };
}

/** Stops a lab at a step. @returns when it has left nothing */
async function stopsAt(lease: string, step: string, signal: "SIGINT" | "SIGTERM", code: number): Promise<void> {
  const lab = startLab("--lease", lease, "--nodes=2", "--once");
  const id = await lab.id();
  await lab.tells(`lab: ${step}`, KUBE_MS);
  lab.child.kill(signal);
  expect(await lab.end(), lab.stderr).toBe(code);
  expect(lab.stdout).toBe("");
  expect(tracesOf(id)).toEqual([]);
}

/** Kills a lab at a step. @returns when the next one has removed what it left */
async function isRemovedAfter(lease: string, step: string): Promise<void> {
  const killed = startLab("--lease", lease, "--nodes=2");
  const id = await killed.id();
  await killed.tells(step, KUBE_MS);
  killed.child.kill("SIGKILL");
  await killed.end();
  expect(tracesOf(id)).not.toEqual([]);
  const next = startLab("--nodes=2", "--once");
  expect(await next.end(), next.stderr).toBe(0);
  expect(next.stderr).toContain(`removed what the lab ${id} left, which was killed`);
  expect(tracesOf(id)).toEqual([]);
}

describeInNamespaces("tartan lab with a server for the leases", () => {
  beforeAll(() => void executable());
  afterEach(endLabs);

  describeWithEtcd("etcd", () => {
    test("--lease etcd --once -o json: every pair reached, nothing left", async () => {
      const { lease } = await completeLab("--lease=etcd", "--nodes=3");
      expect(lease).toMatchObject({ source: "etcd", server: "http://192.0.2.250:2379" });
      expect(lease.inspect[0]).toContain("--endpoints=http://192.0.2.250:2379 get --prefix /coreos.com/network");
    });

    test("--family 46: every pair and the outside reached in both, nothing left", async () => {
      const { nodes } = await completeLab("--lease=etcd", "--family=46", "--nodes=2");
      for (const { families } of nodes) expect(families.map(({ family }) => family)).toEqual([4, 6]);
    });

    test("--family 6: etcd is asked over IPv6", async () => {
      const { lease } = await completeLab("--lease=etcd", "--family=6", "--nodes=2");
      expect(lease.server).toBe("http://[2001:db8::fa]:2379");
    });

    test("what it prints shows the leases; an etcd that ends is told, and started again as it says", async () => {
      const lab = startLab("--lease=etcd", "--nodes=2");
      const id = await lab.id();
      await lab.stays();
      expect(lab.stdout).toContain("\nin etcd, at http://192.0.2.250:2379\n");
      const look = /^ip netns exec .*etcdctl.*$/m.exec(lab.stdout)?.[0] ?? "";
      const { output } = await shell(look);
      expect(output).toContain("/coreos.com/network/config\n");
      const subnets = [...lab.stdout.matchAll(/^n\d +(10\.244\.\d+\.0)\/24 /gm)].map((match) => match[1] ?? "");
      expect(subnets).toHaveLength(2);
      for (const subnet of subnets) expect(output).toContain(`/coreos.com/network/subnets/${subnet}-24\n`);

      const etcd = () => processesOf(id, "--data-dir=")[0];
      process.kill(await eventually(etcd, { within: 15_000, what: "etcd" }), "SIGKILL");
      const line = () => /etcd ended by SIGKILL; to start it again: (.*)\n/.exec(lab.stderr)?.[1];
      const again = await eventually(line, { within: 30_000, what: "the lab tells how to start it again" });
      const second = Bun.spawn(["sh", "-c", `exec ${again}`], { stdout: "ignore", stderr: "ignore" });
      await eventually(async () => (await shell(look)).output.includes("/subnets/"), {
        within: 40_000,
        what: "the leases are there again",
      });
      lab.child.kill("SIGINT");
      expect(await lab.end()).toBe(0);
      await second.exited;
      expect(tracesOf(id)).toEqual([]);
    });

    test.each([
      ["starting etcd", "SIGINT", 130],
      ["starting an agent", "SIGTERM", 143],
    ] as const)("stopped at %p by %s, it leaves nothing", (step, signal, code) => stopsAt("etcd", step, signal, code));

    test("what a lab leaves that is killed with its etcd running, the next one removes", () =>
      isRemovedAfter("etcd", "stays until Ctrl-C"));

    test("a second Ctrl-C does not wait, and ends etcd too", async () => {
      const lab = startLab("--lease=etcd", "--nodes=2");
      const id = await lab.id();
      await lab.stays();
      process.kill(await agentOf(id), "SIGSTOP");
      const insist = () => {
        lab.child.kill("SIGINT");
        return lab.child.exitCode !== null;
      };
      await eventually(insist, { within: 20_000, what: "the end of the lab" });
      expect(await lab.end()).toBe(130);
      await eventually(() => processesOf(id, "").length === 0, { within: 20_000, what: "the end of all processes" });
      expect(await startLab("--nodes=2", "--once").end()).toBe(0);
      expect(tracesOf(id)).toEqual([]);
    });

    test("an etcd that does not start is told with the end of its log, and nothing is left", async () => {
      using folder = new TemporaryFolder();
      await Bun.write(folder.at("etcd"), "#!/bin/sh\necho the disk is full\nexit 3\n");
      chmodSync(folder.at("etcd"), 0o755);
      const lab = startLabIn({ ...CHECKOUT, KUBEBUILDER_ASSETS: folder.path }, "--lease=etcd", "--once");
      const id = await lab.id();
      expect(await lab.end()).toBe(1);
      expect(lab.stderr).toContain("\n  the disk is full\n");
      expect(lab.stderr).toEndWith("\ntartan: etcd ended with exit code 3\n");
      expect(tracesOf(id)).toEqual([]);
    });
  });

  describeWithKubernetes("Kubernetes", () => {
    test(
      "--lease kube --once -o json: every pair reached, nothing left",
      async () => {
        const { lease, nodes } = await completeLab("--lease=kube", "--nodes=3");
        expect(lease).toMatchObject({ source: "kube", server: "https://192.0.2.250:6443" });
        for (const { subnet } of nodes) expect(subnet).toMatch(/^10\.244\.\d+\.0\/24$/);
      },
      KUBE_MS,
    );

    test.each([["46"], ["6"]] as const)(
      "--family %s: the podCIDRs are of that family, every pair and the outside reached, nothing left",
      async (family) => {
        const { nodes } = await completeLab("--lease=kube", `--family=${family}`, "--nodes=2");
        for (const { families } of nodes) {
          expect(families.map((one) => one.family)).toEqual(family === "6" ? [6] : [4, 6]);
          expect(families.at(-1)?.subnet).toMatch(/^fd00:10:244:.*\/64$/);
        }
      },
      KUBE_MS,
    );

    test(
      "while it stays, its administrator sees the Nodes' annotations, and the agents' account sees no secrets",
      async () => {
        const lab = startLab("--lease=kube", "--nodes=2");
        const id = await lab.id();
        await lab.stays(KUBE_MS);
        const line = /^curl --cacert (\S+) -H @(\S+) "(https:\S+)\/api\/v1\/nodes\?pretty=false"$/m.exec(lab.stdout);
        const [, ca = "", header = "", server = ""] = line ?? [];
        const [name = "", value = ""] = (await Bun.file(header).text()).trim().split(": ");
        const tls = { ca: Bun.file(ca) };
        const answer = await fetch(`${server}/api/v1/nodes`, { headers: { [name]: value }, tls });
        expect(await answer.json()).toMatchObject({
          items: ["n1", "n2"].map((node, index) => ({
            metadata: {
              name: node,
              annotations: { "flannel.alpha.coreos.com/public-ip": `192.0.2.${index + 1}` },
            },
          })),
        });

        const admin = /^kubectl --kubeconfig=(\S+) get nodes$/m.exec(lab.stdout)?.[1] ?? "";
        const found = findKubeConfig({ kubeconfigFile: admin, environment: {} });
        expect(found.cluster.server).toBe(server);
        expect(found.user.token).toBe(value.replace("Bearer ", ""));

        const kubeconfigFile = `/run/tartan-lab/${id}/agent.kubeconfig`;
        const agent = findKubeConfig({ kubeconfigFile, environment: {} });
        expect(agent.cluster.server).toBe("https://192.0.2.250:6443");
        const statusOf = async (path: string) => {
          const headers = { authorization: `Bearer ${agent.user.token}` };
          return (await fetch(`${server}${path}`, { headers, tls })).status;
        };
        expect(await statusOf("/api/v1/nodes?limit=1")).toBe(200);
        expect(await statusOf("/api/v1/secrets")).toBe(403);

        lab.child.kill("SIGINT");
        expect(await lab.end()).toBe(0);
        expect(tracesOf(id)).toEqual([]);
      },
      KUBE_MS,
    );

    test.each([
      ["starting kube-apiserver", "SIGINT", 130],
      ["registering the Nodes", "SIGTERM", 143],
    ] as const)(
      "stopped at %p by %s, it leaves nothing",
      (step, signal, code) => stopsAt("kube", step, signal, code),
      KUBE_MS,
    );

    test(
      "what a lab leaves that is killed with its servers running, the next one removes",
      () => isRemovedAfter("kube", "starting an agent"),
      KUBE_MS,
    );
  });

  describe("without the servers", () => {
    test("one line names what is missing and how to get it; nothing is made", async () => {
      using folder = new TemporaryFolder();
      const lab = startLabIn({ KUBEBUILDER_ASSETS: folder.path }, "--lease=kube");
      expect(await lab.end()).toBe(1);
      expect(lab.stdout).toBe("");
      expect(lab.stderr).toStartWith(
        `tartan: missing for --lease kube: kube-apiserver, kube-controller-manager (KUBEBUILDER_ASSETS is ${folder.path}, ` +
          "which lacks them; without it, 'npm run envtest' in a checkout of tartan builds them for 'npm run lab' there, in ten minutes)",
      );
      expect(lab.stderr.trim().split("\n")).toHaveLength(1);
    });
  });
});
