from inference_operator.plugin.main import main

main(prog_name="kubectl-inference")
