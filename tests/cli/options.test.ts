import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import * as v from "valibot";
import { UsageError } from "../../src/base/errors.ts";
import {
  type ArgumentSpecs,
  choicesOf,
  HELP,
  type OptionSpecs,
  OUTPUT,
  optionsHelp,
  parseOptions,
  SWITCH,
} from "../../src/cli/options.ts";
import { mustBe } from "../../src/config/schema.ts";

const SPECS = {
  output: OUTPUT,
  "host-root": { value: "PATH", usage: "where the root is", schema: v.optional(v.string()) },
  count: {
    short: "n",
    value: "N",
    usage: "how many",
    schema: v.optional(v.pipe(v.string(), v.regex(/^\d+$/, mustBe("a number")), v.transform(Number)), "3"),
  },
  "dry-run": { usage: "change nothing", schema: SWITCH },
  help: HELP,
} as const satisfies OptionSpecs;

const DEFAULTS = { output: "text", "host-root": undefined, count: 3, "dry-run": false, help: false } as const;

describe("a command's options", () => {
  test.each<[string, object]>([
    ["", {}],
    ["-o json", { output: "json" }],
    ["-o=json", { output: "json" }],
    ["-ojson", { output: "json" }],
    ["--output=json", { output: "json" }],
    ["-output=json", { output: "json" }],
    ["--host-root /host", { "host-root": "/host" }],
    ["-host-root=/a=b", { "host-root": "/a=b" }],
    ["--host-root=", { "host-root": "" }],
    ["-n 5", { count: 5 }],
    ["--count=1 --count=2", { count: 2 }],
    ["--dry-run", { "dry-run": true }],
    ["-h", { help: true }],
    ["--", {}],
  ])("%p", (args, expected) => {
    expect(parseOptions(SPECS, args.split(" ").filter(Boolean))).toEqual({ ...DEFAULTS, ...expected });
  });

  test.each([
    ["--output=xml", '--output must be text or json, not "xml"'],
    ["-n x", '--count must be a number, not "x"'],
    ["--dry-run=yes", "--dry-run takes no value"],
    ["--host-root", "--host-root needs a value: --host-root=PATH"],
    ["--outptu=json", "unknown option --outptu: did you mean --output?"],
    ["--host", "unknown option --host: did you mean --host-root?"],
    ["--nonsense-of-mine", "unknown option --nonsense-of-mine: --help lists the options"],
    ["-x", "unknown option -x: --help lists the options"],
    ["more", 'unexpected argument "more": only options are allowed here'],
    ["-- --help", 'unexpected argument "--help": only options are allowed here'],
  ])("%p is refused in one line", (args, message) => {
    const parse = () => parseOptions(SPECS, args.split(" "));
    expect(parse).toThrow(UsageError);
    expect(parse).toThrow(message);
  });

  test("whatever the arguments, there are values or a UsageError of one line", () => {
    const known = ["--output", "-o", "--count=1", "-n", "--dry-run", "--", "-h", "json", "-"];
    const argument = fc.oneof(fc.constantFrom(...known), fc.string({ maxLength: 8 }));
    fc.assert(
      fc.property(fc.array(argument, { maxLength: 5 }), (args) => {
        try {
          expect(Object.keys(parseOptions(SPECS, args))).toEqual(Object.keys(SPECS));
        } catch (error) {
          expect(error).toBeInstanceOf(UsageError);
          expect(String(error)).not.toContain("\n");
        }
      }),
    );
  });
});

describe("a command's arguments", () => {
  const ARGS = {
    resource: { usage: "peers or leases", schema: v.picklist(["peers", "leases"], mustBe("peers or leases")) },
    name: { usage: "of a node", schema: v.optional(v.string()) },
  } as const satisfies ArgumentSpecs;
  const parse = (args: string) => parseOptions(SPECS, args.split(" ").filter(Boolean), ARGS);

  test.each<[string, object]>([
    ["peers", { resource: "peers", name: undefined }],
    ["leases n1", { resource: "leases", name: "n1" }],
    ["-o json peers --count=5 n1", { output: "json", count: 5, resource: "peers", name: "n1" }],
    ["peers -- --n1", { resource: "peers", name: "--n1" }],
    ["--help", { help: true, resource: undefined }],
  ])("%p", (args, expected) => {
    expect(parse(args)).toEqual({ ...DEFAULTS, name: undefined, ...expected } as never);
  });

  test.each([
    ["", "RESOURCE is missing: peers or leases"],
    ["nodes", 'RESOURCE must be peers or leases, not "nodes"'],
    ["peers n1 n2", 'unexpected argument "n2": only RESOURCE and NAME are allowed here'],
    ["peers --nmae=x", "unknown option --nmae"],
  ])("%p is refused in one line", (args, message) => {
    expect(() => parse(args)).toThrow(UsageError);
    expect(() => parse(args)).toThrow(message);
  });
});

test.each([
  [OUTPUT.schema, ["text", "json"]],
  [v.picklist(["a", "b"]), ["a", "b"]],
  [SWITCH, []],
  [SPECS.count.schema, []],
  [v.optional(v.string()), []],
])("the words that a schema takes", (schema, expected) => {
  expect(choicesOf(schema)).toEqual(expected);
});

test("the help has a line for each, aligned", () => {
  expect(optionsHelp(SPECS).split("\n")).toEqual([
    "  -o, --output=FORMAT   text (if not given) or json: one document on stdout",
    "      --host-root=PATH  where the root is",
    "  -n, --count=N         how many",
    "      --dry-run         change nothing",
    "  -h, --help            show this help",
  ]);
});
