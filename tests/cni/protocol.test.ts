import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import fc from "fast-check";
import * as v from "valibot";
import { parseConf } from "../../src/cni/conf.ts";
import { CniError } from "../../src/cni/errors.ts";
import { executable } from "../support/executable.ts";
import { TemporaryFolder } from "../support/temp.ts";

/** What a runtime sees: environment and stdin go in, JSON and an exit code come out. */

const Answer = v.strictObject({
  cniVersion: v.string(),
  code: v.number(),
  msg: v.string(),
  details: v.optional(v.string()),
});

const ATTACHMENT = {
  CNI_CONTAINERID: "c",
  CNI_NETNS: "/absent",
  CNI_IFNAME: "eth0",
  CNI_PATH: "/usr/lib/cni:/opt/cni/bin",
};
const CONF = { cniVersion: "1.0.0", name: "net", type: "flannel" };

async function call(environment: Record<string, string>, stdin: string) {
  const child = Bun.spawn([executable()], {
    env: environment,
    stdin: Buffer.from(stdin),
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, code] = await Promise.all([child.stdout.text(), child.exited]);
  return { stdout, code };
}

async function refusal(environment: Record<string, string>, stdin: string) {
  const { stdout, code } = await call(environment, stdin);
  expect(code).toBe(1);
  return v.parse(Answer, JSON.parse(stdout));
}

test("VERSION", async () => {
  for (const [stdin, cniVersion] of [
    ['{"cniVersion":"0.4.0"}', "0.4.0"],
    ['{"cniVersion":"9.9.9"}', "1.1.0"],
    ["", "1.1.0"],
  ] as const) {
    const { stdout, code } = await call({ CNI_COMMAND: "VERSION" }, stdin);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toEqual({
      cniVersion,
      supportedVersions: ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"],
    });
  }
});

/** What is wrong, in the environment or the configuration, and the code and words for it. */
const WRONG: readonly {
  readonly what: string;
  readonly environment?: Record<string, string>;
  readonly conf?: object | string;
  readonly code: number;
  readonly says: RegExp;
}[] = [
  { what: "a verb", environment: { CNI_COMMAND: "add" }, code: 4, says: /CNI_COMMAND.*"add".*ADD/ },
  {
    what: "an environment that lacks much",
    environment: { CNI_CONTAINERID: "", CNI_NETNS: "", CNI_PATH: "" },
    code: 4,
    says: /CNI_CONTAINERID, CNI_PATH, CNI_NETNS/,
  },
  { what: "a container id", environment: { CNI_CONTAINERID: "../../etc/x" }, code: 4, says: /CNI_CONTAINERID/ },
  { what: "an interface's name", environment: { CNI_IFNAME: "sixteen-letters-" }, code: 4, says: /CNI_IFNAME/ },
  { what: "an interface's name with a slash", environment: { CNI_IFNAME: "a/b" }, code: 4, says: /CNI_IFNAME/ },
  { what: "no JSON", conf: '{"name":', code: 6, says: /no JSON/ },
  { what: "no object", conf: "[]", code: 7, says: /not valid/ },
  { what: "a version", conf: { ...CONF, cniVersion: "3.0.0" }, code: 1, says: /incompatible/ },
  { what: "no name", conf: { cniVersion: "1.0.0" }, code: 7, says: /name/ },
  { what: "a name with a slash", conf: { ...CONF, name: "../x" }, code: 7, says: /name/ },
  { what: "a delegate", conf: { ...CONF, delegate: "bridge" }, code: 7, says: /delegate/ },
  { what: "routes", conf: { ...CONF, ipam: { routes: [{ gw: "10.0.0.1" }] } }, code: 7, says: /ipam\.routes\.0\.dst/ },
  {
    what: "CHECK before it was there",
    environment: { CNI_COMMAND: "CHECK" },
    conf: { ...CONF, cniVersion: "0.3.1" },
    code: 1,
    says: /CHECK/,
  },
  { what: "CHECK without a result", environment: { CNI_COMMAND: "CHECK" }, code: 7, says: /prevResult/ },
  { what: "GC before it was there", environment: { CNI_COMMAND: "GC" }, code: 1, says: /GC/ },
  { what: "STATUS before it was there", environment: { CNI_COMMAND: "STATUS" }, code: 1, says: /STATUS/ },
];

for (const { what, environment = {}, conf = CONF, code, says } of WRONG) {
  test(`refused: ${what}`, async () => {
    const stdin = typeof conf === "string" ? conf : JSON.stringify(conf);
    const answer = await refusal({ CNI_COMMAND: "ADD", ...ATTACHMENT, ...environment }, stdin);
    expect(answer).toMatchObject({ code, msg: expect.stringMatching(says) });
    expect(answer.cniVersion).toMatch(/^(0\.3\.1|1\.0\.0|1\.1\.0)$/);
  });
}

test("no delegate in CNI_PATH is told with the folders, and nothing is kept", async () => {
  using folder = new TemporaryFolder();
  await Bun.write(
    folder.at("subnet.env"),
    "FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.2.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n",
  );
  const conf = { ...CONF, subnetFile: folder.at("subnet.env"), dataDir: folder.at("data") };
  const environment = { CNI_COMMAND: "ADD", ...ATTACHMENT, CNI_PATH: `${folder.path}:/absent` };
  const { code, msg, details } = await refusal(environment, JSON.stringify(conf));
  expect([code, msg]).toEqual([7, expect.stringContaining("bridge")]);
  expect(details).toContain(`${folder.path}, /absent`);
  expect(existsSync(folder.at("data"))).toBe(false);
});

test("a record that can't be kept is told before anything is made", async () => {
  using folder = new TemporaryFolder();
  await Bun.write(
    folder.at("subnet.env"),
    "FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.2.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n",
  );
  const conf = { ...CONF, subnetFile: folder.at("subnet.env"), dataDir: folder.at("subnet.env", "data") };
  const { code, msg } = await refusal({ CNI_COMMAND: "ADD", ...ATTACHMENT }, JSON.stringify(conf));
  expect([code, msg]).toEqual([5, expect.stringMatching(/record of container c.*ENOTDIR|EEXIST/)]);
});

test("any text on stdin is a configuration or an error with a code of CNI", () => {
  const texts = fc.oneof(
    fc.string(),
    fc.json(),
    fc
      .record(
        {
          cniVersion: fc.constantFrom("1.0.0", "0.3.1", "", null, 7),
          name: fc.oneof(fc.string(), fc.constant("net")),
          ipam: fc.jsonValue(),
          delegate: fc.jsonValue(),
          prevResult: fc.jsonValue(),
        },
        { requiredKeys: [] },
      )
      .map((value) => JSON.stringify(value)),
  );
  fc.assert(
    fc.property(texts, (text) => {
      try {
        parseConf(text, "ADD");
      } catch (error) {
        expect(error).toBeInstanceOf(CniError);
        expect([1, 6, 7]).toContain(error instanceof CniError ? error.code : -1);
      }
    }),
  );
});
