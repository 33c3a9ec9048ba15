from inference_operator.cli import main

main()
