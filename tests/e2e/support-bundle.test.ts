import { afterAll, beforeAll, expect, test } from "bun:test";
import { statSync } from "node:fs";
import * as v from "valibot";
import { RESOURCES } from "../../src/api/resources.ts";
import { executable } from "../support/executable.ts";
import { Overlay } from "../support/overlay.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { useTemporaryFolder } from "../support/temp.ts";
import { tartan } from "./running-cli.ts";

/** What nobody may find in a bundle. */
const SECRETS = [
  "hunter2-in-json",
  "hunter2-in-env",
  "MIIEvQIBADANBg",
  "eyJhbGciOiJSUzI1NiJ9",
  "hunter2-in-url",
  "hunter2-in-rules",
];

const Manifest = v.object({
  agentAt: v.nullable(v.string()),
  files: v.array(v.object({ path: v.string(), what: v.string(), bytes: v.number(), secretsTakenOut: v.number() })),
  missing: v.array(v.object({ path: v.string(), what: v.string(), why: v.string() })),
});

describeInNamespaces("tartan support-bundle", () => {
  const folder = useTemporaryFolder();
  const overlay = new Overlay(folder.path);
  const cni = () => folder.at("net.d");

  beforeAll(async () => {
    await overlay.create(2);
    await overlay.start();
    const conflist = {
      ...{ name: "cbr0", cniVersion: "1.0.0", plugins: [{ type: "flannel", delegate: { isDefaultGateway: true } }] },
      ...{ kubernetes: { token: "hunter2-in-json", k8s_api_root: "https://root:hunter2-in-url@192.0.2.9:6443" } },
    };
    await Bun.write(folder.at("net.d", "10-flannel.conflist"), JSON.stringify(conflist));
    const key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\n-----END PRIVATE KEY-----\n";
    await Bun.write(
      folder.at("net.d", "20-other.conf"),
      `{ broken\nPASSWORD=hunter2-in-env\n${key}Bearer eyJhbGciOiJSUzI1NiJ9.e30.c2ln`,
    );
    await Bun.write(folder.at("net.d", "calico-kubeconfig"), "token: hunter2-in-json");
    const rules = 'table ip other { chain c { counter comment "token=hunter2-in-rules"; }; }';
    await overlay.node(1).ns.exec(["nft", rules]);
  });
  afterAll(() => overlay[Symbol.dispose]());

  /** Makes a bundle and takes it apart. */
  async function bundle(name: string, args: readonly string[] = []) {
    const file = folder.at(name);
    const { agent } = overlay.node(1);
    const outcome = await tartan(overlay.node(1), [
      "support-bundle",
      `--file=${file}`,
      `--cni-conf-dir=${cni()}`,
      ...args,
    ]);
    expect(outcome).toMatchObject({ code: 0, stdout: `${file}\n` });
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const target = folder.at(`${name}.d`);
    // By tar itself, as whoever gets it would.
    await Bun.$`mkdir ${target} && tar -xzf ${file} -C ${target} --strip-components=1`.quiet();
    const manifest = v.parse(Manifest, await Bun.file(`${target}/manifest.json`).json());
    const text = (path: string) => Bun.file(`${target}/${path}`).text();
    const everything = (await Bun.$`cat $(find ${target} -type f)`.quiet().text()) + outcome.stderr;
    return { manifest, text, everything, stderr: outcome.stderr, subnetFile: agent.subnetFile };
  }

  test("has the agent's resources, the kernel, the rules and the node's files, and lists them", async () => {
    const { manifest, text, stderr } = await bundle("whole.tar.gz");
    const paths = manifest.files.map(({ path }) => path);
    const resources = Object.keys(RESOURCES).filter((name) => name !== "peer");
    expect(paths).toEqual(expect.arrayContaining(resources.map((name) => `agent/${name}.json`)));
    const others = [
      "agent/openapi.json",
      "agent/readyz.json",
      "kernel/links.json",
      "kernel/routes.json",
      "kernel/forwarding.json",
    ];
    expect(paths).toEqual(
      expect.arrayContaining([
        ...others,
        "rules/nftables.json",
        "node/subnet.env",
        "node/sysctls.txt",
        "versions.json",
      ]),
    );
    expect(JSON.parse(await text("doctor.json"))).toMatchObject({ findings: expect.any(Array) });
    v.parse(RESOURCES.state.schema, JSON.parse(await text("agent/state.json")));
    expect(JSON.parse(await text("kernel/links.json"))).toContainEqual(
      expect.objectContaining({ name: "flannel.1", kind: "vxlan" }),
    );
    expect(JSON.parse(await text("kernel/peers.json"))).toMatchObject([{ publicIP: "192.0.2.2", missing: [] }]);
    expect(await text("node/subnet.env")).toContain("FLANNEL_NETWORK=10.244.0.0/16");
    expect(await text("node/net-conf.json")).toContain("10.244.0.0/16");
    for (const { path, bytes } of manifest.files)
      expect({ path, bytes: Buffer.byteLength(await text(path)) }).toEqual({ path, bytes });
    expect(stderr.split("\n").length).toBeGreaterThan(manifest.files.length);
  });

  test("has no secrets, and says where some were", async () => {
    const { manifest, text, everything } = await bundle("secrets.tar.gz");
    for (const secret of SECRETS) expect(everything).not.toContain(secret);
    expect(JSON.parse(await text("node/cni/10-flannel.conflist"))).toMatchObject({
      name: "cbr0",
      kubernetes: { token: "[secret]" },
    });
    const hidden = manifest.files.filter(({ secretsTakenOut }) => secretsTakenOut > 0).map(({ path }) => path);
    expect(hidden).toEqual(
      expect.arrayContaining(["node/cni/10-flannel.conflist", "node/cni/20-other.conf", "rules/nftables.json"]),
    );
    // Other files of that folder are named only.
    expect(manifest.files.map(({ path }) => path)).not.toContain("node/cni/calico-kubeconfig");
    expect(await text("node/cni-files.txt")).toBe("10-flannel.conflist\n20-other.conf\ncalico-kubeconfig\n");
  });

  test("is made without the agent, too, and says what is missing and why", async () => {
    await overlay.node(1).agent.stop();
    const { manifest } = await bundle("alone.tar.gz", [
      `--subnet-file=${overlay.node(1).agent.subnetFile}`,
      "--net-config-path=/nowhere",
    ]);
    expect(manifest.agentAt).toBeNull();
    expect(manifest.missing).toContainEqual(
      expect.objectContaining({ path: "agent/state.json", why: expect.stringContaining("no agent answers") }),
    );
    expect(manifest.missing).toContainEqual(
      expect.objectContaining({ path: "node/net-conf.json", why: "there is none" }),
    );
    expect(manifest.files.map(({ path }) => path)).toEqual(
      expect.arrayContaining(["kernel/peers.json", "node/subnet.env"]),
    );
  });

  test("overwrites nothing, and leaves nothing where it can't be written", async () => {
    await Bun.write(folder.at("there"), "mine");
    const outcome = await tartan(overlay.node(1), ["support-bundle", `--file=${folder.at("there")}`]);
    expect(outcome).toMatchObject({
      code: 1,
      stdout: "",
      stderr: expect.stringContaining("--file=PATH names another place"),
    });
    expect(await Bun.file(folder.at("there")).text()).toBe("mine");
  });

  test("goes to stdout if asked, for whoever has no place to write to", async () => {
    const { ns, agent } = overlay.node(1);
    const command = [
      executable(),
      "support-bundle",
      "--file=-",
      `--cni-conf-dir=${cni()}`,
      `--socket=${agent.debugSocket}`,
    ];
    const child = ns.spawn(command, { stdout: "pipe", stderr: "ignore" });
    const names = [...(await new Bun.Archive(await child.stdout.bytes()).files()).keys()];
    expect(await child.exited).toBe(0);
    expect(names[0]).toMatch(/^tartan-support-[^/]+\/manifest\.json$/);
    expect(names.length).toBeGreaterThan(10);
  });
});
