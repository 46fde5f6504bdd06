"""DataDesigner: a seed column and one text column, its metrics endpoint and health check off."""

import pandas
from chain import IN_FLIGHT, MAX_TOKENS, TEMPERATURE, read_chain, take_cost
from data_designer import config  # pyright: ignore[reportMissingImports]
from data_designer.interface import DataDesigner  # pyright: ignore[reportMissingImports]


def main() -> None:
    chain = read_chain()
    answers: list[str] = []
    provider = config.ModelProvider(name="loopback", endpoint=chain.url, api_key="none")
    parameters = config.ChatCompletionInferenceParams(
        temperature=TEMPERATURE, max_tokens=MAX_TOKENS, max_parallel_requests=IN_FLIGHT
    )
    model = config.ModelConfig(
        alias="teacher",
        model=chain.model,
        provider="loopback",
        inference_parameters=parameters,
        skip_health_check=True,
    )
    builder = config.DataDesignerConfigBuilder(model_configs=[model])
    seeds = pandas.DataFrame({"task": chain.prompts})
    builder.with_seed_dataset(config.DataFrameSeedSource(df=seeds))
    builder.add_column(
        config.LLMTextColumnConfig(name="answer", prompt="{{ task }}", model_alias="teacher")
    )
    designer = DataDesigner(artifact_path="artifacts", model_providers=[provider])
    designer.set_run_config(config.RunConfig(otel_metrics_port=None))
    with take_cost("data-designer", answers, chain.prompts):
        created = designer.create(builder, num_records=len(chain.prompts))
        answers += list(created.load_dataset()["answer"])


if __name__ == "__main__":
    main()
