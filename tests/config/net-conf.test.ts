import { describe, expect, test } from "bun:test";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { parseNetConf } from "../../src/config/net-conf.ts";
import { NetConfError } from "../../src/config/net-conf-error.ts";
import { readNetConf } from "../../src/config/read-net-conf.ts";
import { parseAddress } from "../../src/net/address.ts";
import { parsePrefix } from "../../src/net/prefix.ts";

const PATH = "/etc/kube-flannel/net-conf.json";

const parse = (value: unknown) => parseNetConf(typeof value === "string" ? value : JSON.stringify(value), PATH);

/** A configuration that is right but for what is added to it. */
const conf = (more: object, backend: object = {}) => ({
  Network: "10.244.0.0/16",
  Backend: { Type: "vxlan", ...backend },
  ...more,
});

const DUAL = { EnableIPv6: true, IPv6Network: "fc00::/48" };
const IPV6 = { EnableIPv4: false, ...DUAL, Backend: { Type: "vxlan" } };

function refusal(value: unknown): string {
  try {
    parse(value);
  } catch (error) {
    if (error instanceof NetConfError) return error.message;
    throw error;
  }
  throw new Error(`accepted: ${JSON.stringify(value)}`);
}

describe("of IPv6", () => {
  const ranges = (value: object) => parse(value).config.ranges;

  test.each([
    ["fc00::/48", undefined, 64, "fc00:0:0:1::", "fc00:0:0:ffff::"],
    ["fc00::/62", undefined, 64, "fc00:0:0:1::", "fc00:0:0:3::"],
    ["fc00::/63", undefined, 65, "fc00:0:0:0:8000::", "fc00:0:0:1:8000::"],
    ["fc00::/124", undefined, 126, "fc00::4", "fc00::c"],
    ["fc00::/48", 0, 64, "fc00:0:0:1::", "fc00:0:0:ffff::"],
    ["fc00::/48", 112, 112, "fc00::1:0", "fc00::ffff:ffff:ffff:ffff:0"],
  ])("%s cut into %j: /%d from %s to %s", (network, length, subnetLength, subnetMin, subnetMax) => {
    const fields = { IPv6Network: network, ...(length === undefined ? {} : { IPv6SubnetLen: length }) };
    const wanted = [parseAddress(subnetMin), parseAddress(subnetMax)];
    const range = ranges({ ...IPV6, ...fields })[6];
    expect(range).toMatchObject({ network: parsePrefix(network) ?? never(), subnetLength });
    expect([range?.subnetMin, range?.subnetMax]).toEqual(wanted);
  });

  test("the limits may be given; the zero address means that they are not", () => {
    const limits = { IPv6SubnetMin: "fc00:0:0:5::", IPv6SubnetMax: "fc00:0:0:9::" };
    expect(ranges(conf({ ...DUAL, ...limits }))[6]).toMatchObject({
      subnetMin: "fc00:0:0:5::",
      subnetMax: "fc00:0:0:9::",
    });
    expect(ranges(conf({ ...DUAL, IPv6SubnetMin: "::" }))[6]).toMatchObject({ subnetMin: "fc00:0:0:1::" });
  });

  test("IPv4 stays beside it unless it is turned off", () => {
    expect(Object.keys(ranges(conf(DUAL)))).toEqual(["4", "6"]);
    expect(Object.keys(ranges(IPV6))).toEqual(["6"]);
    expect(Object.keys(ranges(conf({ ...DUAL, EnableIPv6: false })))).toEqual(["4"]);
  });
});

describe("where others give out the subnets", () => {
  const lax = (value: object) => parseNetConf(JSON.stringify(value), PATH, { allocating: false });

  test.each([
    { SubnetLen: 31 },
    { SubnetLen: 8, SubnetMin: "192.0.2.1", SubnetMax: "10.244.0.7" },
    { Network: "10.244.0.0/29" },
    { Network: "10.244.0.0/31" },
  ])("flanneld's rules for their size and place do not hold: %j", (more) => {
    expect(refusal(conf(more))).toMatch(/SubnetLen|SubnetMin|Network/);
    const { ranges } = lax(conf(more)).config;
    expect(ranges[4]?.network).toEqual(parsePrefix(conf(more).Network) ?? never());
  });

  test("the network must be there, and each value be one", () => {
    expect(() => lax({ Backend: { Type: "vxlan" } })).toThrow("Network is missing");
    expect(() => lax(conf({ SubnetLen: "24" }))).toThrow("SubnetLen must be an integer");
  });
});

function never(): never {
  throw new Error("a test has a wrong value");
}

describe("accepted", () => {
  test("flannel's own file", () => {
    const text = `{
      "Network": "10.244.0.0/16",
      "EnableNFTables": false,
      "Backend": {
        "Type": "vxlan"
      }
    }\n`;
    expect(parse(text) as unknown).toEqual({
      config: {
        ranges: {
          4: {
            network: parsePrefix("10.244.0.0/16"),
            subnetLength: 24,
            subnetMin: parseAddress("10.244.1.0"),
            subnetMax: parseAddress("10.244.255.0"),
          },
        },
        backend: { type: "vxlan", vni: 1, port: undefined, gbp: false, learning: false, mtu: undefined },
        nftables: false,
      },
      warnings: [],
    });
  });

  test("every option", () => {
    const options = { VNI: 4096, Port: 4789, MTU: 1400, GBP: true, Learning: true, DirectRouting: false };
    const { config, warnings } = parse(
      conf(
        { SubnetLen: 26, SubnetMin: "10.244.5.0", SubnetMax: "10.244.6.64", EnableIPv4: true, EnableNFTables: true },
        options,
      ),
    );
    expect(config.nftables).toBe(true);
    expect(config.backend).toEqual({ type: "vxlan", vni: 4096, port: 4789, gbp: true, learning: true, mtu: 1400 });
    expect(config.ranges[4]).toMatchObject({ subnetLength: 26, subnetMin: "10.244.5.0", subnetMax: "10.244.6.64" });
    expect(warnings).toEqual([]);
  });

  test.each<[string, object, object]>([
    ["VNI 0", { VNI: 0 }, { vni: 0 }],
    ["the largest VNI", { VNI: 9_999_999 }, { vni: 9_999_999 }],
    ["port 0, the kernel's", { Port: 0 }, { port: undefined }],
    ["the smallest MTU", { MTU: 118 }, { mtu: 118 }],
    ["the type in other letters", { Type: "VXLAN" }, { type: "vxlan" }],
    ["null, the default", { VNI: null, GBP: null }, { vni: 1, gbp: false }],
    ["keys in other letters", { vni: 7, directrouting: false, LEARNING: true }, { vni: 7, learning: true }],
  ])("%s", (_, options, expected) => {
    const { config, warnings } = parse(conf({}, options));
    expect(config.backend).toMatchObject(expected);
    expect(warnings).toEqual([]);
  });

  test("top-level keys in other letters, the last of several counts", () => {
    const { config, warnings } = parse(
      '{"network": "10.1.0.0/16", "NETWORK": "10.2.0.0/16", "Network": null, "subnetLen": 20, "bAckend": {"type": "vxlan"}}',
    );
    expect(config.ranges[4]).toMatchObject({ network: { address: "10.2.0.0" }, subnetLength: 20 });
    expect(warnings).toEqual([
      `${PATH}: Network is given more than once; the last one counts`,
      `${PATH}: Network is given more than once; the last one counts`,
    ]);
  });
});

describe("warned about", () => {
  test.each<[object, string]>([
    [conf({ SubnetLenght: 20 }), 'SubnetLenght is unknown and ignored; did you mean "SubnetLen"?'],
    [conf({ comment: "x" }), "comment is unknown and ignored; remove it, or check its spelling"],
    [conf({ "a\nb": 1 }), '"a\\nb" is unknown and ignored; remove it, or check its spelling'],
    [conf({}, { PSK: "x" }), "Backend.PSK is unknown and ignored; remove it, or check its spelling"],
    [conf({}, { Ports: 1 }), 'Backend.Ports is unknown and ignored; did you mean "Port"?'],
    [conf({}, { Name: "flannel.4096" }), "Backend.Name is ignored: it is for Windows only"],
    [conf({}, { macPrefix: "0E-2A" }), "Backend.MacPrefix is ignored: it is for Windows only"],
    [conf({ IPv6Network: "fc00::/48" }), "IPv6Network is ignored: EnableIPv6 is not set"],
    [{ ...IPV6, Network: "10.244.0.0/16" }, "Network is ignored: EnableIPv4 is false"],
    [conf({ IPv6SubnetLen: 64, EnableIPv6: false }), "IPv6SubnetLen is ignored: EnableIPv6 is not set"],
  ])("%j", (value, warning) => {
    expect(parse(value).warnings).toEqual([`${PATH}: ${warning}`]);
  });

  test("__proto__ is a key like any other", () => {
    const { warnings } = parse(
      '{"__proto__": 1, "Network": "10.0.0.0/8", "Backend": {"Type": "vxlan", "__proto__": {}}}',
    );
    expect(warnings).toHaveLength(2);
    for (const warning of warnings) expect(warning).toContain("__proto__ is unknown and ignored");
  });
});

describe("refused", () => {
  const example = '{"Network": "10.244.0.0/16", "Backend": {"Type": "vxlan"}}';
  test.each<[unknown, string]>([
    ["", `is empty; write the network's configuration to it, such as ${example}`],
    [" \n", `is empty; write the network's configuration to it, such as ${example}`],
    ['{"Network": "10.244.', "is not complete JSON ("],
    ['{"Network": "10.244.0.0/16"} x', "is not complete JSON ("],
    ["\u007fELF\u0001\0\0", "is binary: character 6 is zero"],
    [`\uFEFF${example}`, "starts with a byte-order mark; save it as UTF-8 without one"],
    ["[1]", `must hold a JSON object such as ${example}, not a list`],
    ["null", "must hold a JSON object"],
    ['"vxlan"', 'not "vxlan"'],
    [{ Backend: { Type: "vxlan" } }, "Network is missing; set it to the pod network"],
    [conf({ Network: 10 }), "Network must be an IPv4 network in CIDR notation, not 10"],
    [conf({ Network: "10.244.0.0" }), 'Network must be an IPv4 network in CIDR notation, not "10.244.0.0"'],
    [conf({ Network: "fc00::/48" }), 'Network must be an IPv4 network in CIDR notation, not "fc00::/48"'],
    [conf({ IPv6Network: "10.0.0.0/8" }), 'IPv6Network must be an IPv6 network in CIDR notation, not "10.0.0.0/8"'],
    [conf({ SubnetMin: "10.244.1" }), 'SubnetMin must be an IPv4 address, not "10.244.1"'],
    [conf({ SubnetMin: "10.245.0.0" }), "SubnetMin 10.245.0.0 lies outside Network 10.244.0.0/16"],
    [conf({ SubnetLen: "24" }), 'SubnetLen must be an integer from 0 to 32, not "24"'],
    [conf({ SubnetLen: 24.5 }), "SubnetLen must be an integer from 0 to 32, not 24.5"],
    [conf({ SubnetLen: -1 }), "SubnetLen must be an integer from 0 to 32, not -1"],
    [conf({ SubnetLen: 31 }), "SubnetLen must be from 18 to 30, not 31"],
    [conf({ subnetlen: [] }), "SubnetLen must be an integer from 0 to 32, not a list"],
    [conf({ EnableIPv4: "yes" }), 'EnableIPv4 must be true or false, not "yes"'],
    [conf({ EnableIPv4: false }), "EnableIPv4 and EnableIPv6 are both false; set the one to true"],
    [conf({ EnableIPv6: true }), 'IPv6Network is missing; set it to the pod network, such as "fd00:10:244::/48"'],
    [conf({ EnableIPv6: true, IPv6Network: "::/0" }), "IPv6Network must not be ::/0"],
    [conf({ EnableIPv6: true, IPv6Network: "fc00::/125" }), "IPv6Network fc00::/125 is too small"],
    [conf({ ...DUAL, IPv6SubnetLen: 127 }), "IPv6SubnetLen must be from 50 to 126, not 127"],
    [conf({ ...DUAL, IPv6SubnetLen: 49 }), "IPv6SubnetLen must be from 50 to 126, not 49"],
    [conf({ ...DUAL, IPv6SubnetMin: "fd00::" }), "IPv6SubnetMin fd00:: lies outside IPv6Network fc00::/48"],
    [conf({ ...DUAL, IPv6SubnetMax: "fc00::1" }), "IPv6SubnetMax fc00::1 is not where a /64 subnet (IPv6SubnetLen)"],
    [conf(DUAL, { MTU: 1349 }), "Backend.MTU must be at least 1350 with EnableIPv6, not 1349"],
    [{ ...IPV6, IPv6Network: "10.0.0.0/8" }, 'IPv6Network must be an IPv6 network in CIDR notation, not "10.0.0.0/8"'],
    [
      { Network: "10.244.0.0/16" },
      'Backend is missing, which means udp, not available in this build; set "Backend": {"Type": "vxlan"}',
    ],
    [conf({ Backend: null }), "Backend is missing, which means udp"],
    [conf({ Backend: "vxlan" }), 'Backend must be an object such as {"Type": "vxlan"}, not "vxlan"'],
    [conf({ Backend: ["vxlan"] }), 'Backend must be an object such as {"Type": "vxlan"}, not a list'],
    [conf({ Backend: {} }), 'Backend.Type is missing; set "Backend": {"Type": "vxlan"}'],
    [conf({}, { Type: 1 }), 'Backend.Type must be a text such as "vxlan", not 1'],
    [conf({}, { Type: "host-gw" }), 'Backend.Type "host-gw" is not available in this build; set'],
    [conf({}, { Type: "UDP" }), 'Backend.Type "UDP" is not available in this build; set'],
    [conf({}, { Type: "vxlna" }), 'Backend.Type "vxlna" is unknown; set "Backend": {"Type": "vxlan"}'],
    [conf({}, { DirectRouting: true }), "Backend.DirectRouting is not available in this build; leave it out"],
    [
      conf({}, { VNI: "1" }),
      'Backend.VNI must be an integer from 0 to 9999999 (the device is called flannel.<VNI>), not "1"',
    ],
    [conf({}, { VNI: 10_000_000 }), "Backend.VNI must be an integer from 0 to 9999999"],
    [conf({}, { VNI: -1 }), "Backend.VNI must be an integer from 0 to 9999999"],
    [conf({}, { Port: 65_536 }), "Backend.Port must be an integer from 0 to 65535, not 65536"],
    [
      conf({}, { MTU: 0 }),
      "Backend.MTU must be an integer from 118 to 65535 (without it, the interface's is taken), not 0",
    ],
    [conf({}, { MTU: 65_536 }), "Backend.MTU must be an integer from 118 to 65535"],
    [conf({}, { GBP: 1 }), "Backend.GBP must be true or false, not 1"],
    [conf({}, { Learning: {} }), "Backend.Learning must be true or false, not an object"],
  ])("%j", (value, message) => {
    const found = refusal(value);
    expect(found).toStartWith(`${PATH}: `);
    expect(found).toContain(message);
  });

  test("everything that is wrong is told at once", () => {
    const found = refusal(conf({ SubnetLen: "a", Network: 1, EnableIPv6: 2 }));
    for (const field of ["SubnetLen", "Network", "EnableIPv6"]) expect(found).toContain(`${field} must be`);
  });

  test("the cause of a syntax error is kept", () => {
    try {
      parse("{");
      throw new Error("accepted");
    } catch (error) {
      expect(error).toBeInstanceOf(NetConfError);
      expect((error as NetConfError).cause).toBeInstanceOf(SyntaxError);
    }
  });
});

/** Parses; whatever comes is either a usable configuration or a NetConfError of one line. */
function parseOrRefuse(text: string): void {
  try {
    const { config, warnings } = parseNetConf(text, PATH);
    expect(config.ranges[4]?.subnetLength).toBeWithin(2, 31);
    expect(config.backend.vni).toBeWithin(0, 10_000_000);
    for (const warning of warnings) expect(warning).not.toMatch(/[\n\r]/);
  } catch (error) {
    expect(error).toBeInstanceOf(NetConfError);
    expect((error as NetConfError).message).not.toMatch(/[\n\r]/);
  }
}

describe("nothing but a NetConfError is thrown", () => {
  const keys = fc.oneof(
    fc.constantFrom("Network", "SubnetLen", "SubnetMin", "SubnetMax", "EnableIPv6", "EnableIPv4", "Backend", "network"),
    fc.string(),
  );
  const backendKeys = fc.oneof(fc.constantFrom("Type", "VNI", "Port", "MTU", "GBP", "Learning", "type"), fc.string());
  const values = fc.oneof(
    fc.jsonValue(),
    fc.constantFrom("vxlan", "10.0.0.0/8", "10.3.0.0", "fc00::/48", 24, 0, 1e300, true),
    fc.dictionary(backendKeys, fc.oneof(fc.jsonValue(), fc.constant("vxlan"))),
  );

  test("on any text", () => {
    fc.assert(fc.property(fc.string({ unit: "binary" }), parseOrRefuse));
  });
  test("on any JSON", () => {
    fc.assert(fc.property(fc.json(), parseOrRefuse));
  });
  test("on objects with the right keys", () => {
    fc.assert(
      fc.property(fc.dictionary(keys, values), (value) => parseOrRefuse(JSON.stringify(value))),
      { numRuns: 500 },
    );
  });
  test("on a good configuration with one odd field, or cut short", () => {
    const text = JSON.stringify(conf({ SubnetLen: 24 }, { VNI: 1 }));
    fc.assert(
      fc.property(
        keys,
        values,
        backendKeys,
        fc.jsonValue(),
        fc.nat(text.length),
        (key, value, option, setting, length) => {
          parseOrRefuse(JSON.stringify(conf({ [key]: value }, { [option]: setting })));
          parseOrRefuse(text.slice(0, length));
        },
      ),
    );
  });
  test("on deep nesting", () => {
    parseOrRefuse("[".repeat(200_000));
    parseOrRefuse(`{"Backend":${"[".repeat(20_000)}${"]".repeat(20_000)}}`);
  });
});

describe("reading the file", () => {
  const withDirectory = async (use: (directory: string) => Promise<void>) => {
    const directory = await mkdtemp(join(tmpdir(), "net-conf-"));
    try {
      await use(directory);
    } finally {
      await rm(directory, { recursive: true });
    }
  };
  const refused = async (path: string) => {
    const error = await readNetConf(path).catch((reason: unknown) => reason);
    if (!(error instanceof NetConfError)) throw new Error(`no NetConfError but ${error}`);
    expect(error.message).toStartWith(`${path}: `);
    return error.message;
  };

  test("a good one", () =>
    withDirectory(async (directory) => {
      const path = join(directory, "net-conf.json");
      await writeFile(path, JSON.stringify(conf({})));
      expect(await readNetConf(path)).toEqual(parseNetConf(JSON.stringify(conf({})), path));
    }));

  test("bad ones", () =>
    withDirectory(async (directory) => {
      const path = join(directory, "net-conf.json");
      expect(await refused(path)).toContain("does not exist; create it, or name another file with --net-config-path");
      await writeFile(path, Uint8Array.of(0x7b, 0xff, 0xfe, 0x7d));
      expect(await refused(path)).toContain("is not UTF-8 text");
      await writeFile(path, `\uFEFF${JSON.stringify(conf({}))}`);
      expect(await refused(path)).toContain("byte-order mark");
      await writeFile(path, " ".repeat(2 ** 20 + 1));
      expect(await refused(path)).toContain("has 1048577 bytes");
      expect(await refused(join(path, "below"))).toContain("a part of the path is not a directory");
      await mkdir(join(directory, "sub"));
      expect(await refused(join(directory, "sub"))).toContain("is a directory");
      expect(await refused("/dev/zero")).toContain("is not a regular file");
    }));
});

test("the example in manifests is sound, and nothing in it is ignored", async () => {
  const path = `${import.meta.dir}/../../manifests/net-conf.json`;
  const { config, warnings } = await readNetConf(path);
  expect(warnings).toEqual([]);
  expect(config.backend).toMatchObject({ type: "vxlan", vni: 1, port: 8472 });
});
