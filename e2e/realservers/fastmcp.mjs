// A server of FastMCP for TypeScript, on standard input and output or, when a port is given, over HTTP.
import { FastMCP } from "fastmcp";
import { z } from "zod";

const server = new FastMCP({ name: "adder", version: "1.0.0" });
server.addTool({
  name: "add",
  description: "Adds two numbers",
  annotations: { readOnlyHint: true },
  parameters: z.object({ a: z.number(), b: z.number() }),
  execute: async ({ a, b }) => `the sum is ${a + b}`,
});
const port = Number(process.argv[2] ?? 0);
await server.start(port ? { transportType: "httpStream", httpStream: { port, host: "127.0.0.1" } } : { transportType: "stdio" });
