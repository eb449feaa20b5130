// An application beside the functions: publishes a run to the Broker and is sent its end.
// The Broker's address is in K_SINK (a SinkBinding sets it); a Trigger brings the ends of runs here.
const http = require("node:http");
const { randomUUID } = require("node:crypto");
const { CloudEvent, HTTP, emitterFor, httpTransport } = require("cloudevents");

const publish = emitterFor(httpTransport(process.env.K_SINK));

// One qubit, minimise <Z> of Ry(theta)|0>. The minimum is -1, at theta = pi.
const spec = {
  problem: { kind: "energy", observable: [["Z", 1.0]] },
  circuit: { library: "real_amplitudes", options: { num_qubits: 1, reps: 0 } },
  optimizer: { name: "rotosolve" },
  initial: [0.3],
  budget: { iterations: 3 },
};
// An application that is started again submits the same run under the same name; it is run once.
const run = process.env.RUN || randomUUID();

async function submit() {
  const attributes = { type: "dev.varloop.run.submitted", source: "/example/js", id: run, subject: run };
  for (;;) {
    try {
      const answer = await publish(new CloudEvent({ ...attributes, datacontenttype: "application/json", data: { spec } }));
      console.log(JSON.stringify({ submitted: run, answer }));
      return;
    } catch (error) {
      console.error(`the Broker does not answer: ${error.message}`);
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
}

function receive(request, response) {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    if (request.method !== "POST") return response.end("OK"); // probes
    const event = HTTP.toEvent({ headers: request.headers, body: Buffer.concat(parts).toString() });
    if (event.subject === run) console.log(JSON.stringify({ type: event.type, run, data: event.data }));
    response.writeHead(202).end(); // an answer with a body would be taken for an event
  });
}

http.createServer(receive).listen(Number(process.env.PORT || 8080), submit);
